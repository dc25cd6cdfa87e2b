"""The trained parts together."""

from __future__ import annotations

from dataclasses import dataclass

import open_clip

from tlg.data.bundle.priors import WorldText
from tlg.model.network import TLG


@dataclass(frozen=True)
class Parts:
    """What the recipe makes: TLG on its backbone, and CLIP with the world's text vectors."""

    network: TLG
    clip: open_clip.CLIP
    text: WorldText
