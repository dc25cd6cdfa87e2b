"""What names say of pictures, as a network reads it.

Shapes: B pictures, N names, A of them, H x W the input size.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from tlg.evidence.fusion import bounded_log_odds
from tlg.evidence.names.evidence import NameEvidence
from tlg.network.named import Named


def said(source: NameEvidence, seen: Tensor, names: Sequence[int], size: tuple[int, int]) -> Named:
    """Log-odds (B, A, H, W) and (B, A) of the A `names`, picture by picture; zeros where the source knows no name."""
    place_BAHW = seen.new_zeros((len(seen), len(names), *size))
    known_A = torch.tensor([source.known[index] for index in names], device=seen.device)
    for row in range(len(seen)):
        for column, index in enumerate(names):
            if source.known[index]:
                place_BAHW[row, column] = bounded_log_odds(source.map(seen[[row]], index))
    odds_BA = source.odds(seen)[:, list(names)]
    return Named(place_BAHW, torch.where(known_A, odds_BA, torch.zeros_like(odds_BA)))
