"""What names say of pictures, as a network reads it.

Shapes: B pictures, N names, A of them, H x W the input size.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from tlg.evidence.fusion import bounded_log_odds
from tlg.evidence.names.evidence import NameEvidence, taught_names
from tlg.network.named import Named

# In log-odds: twice as much as chance would say.
BORNE_OUT = math.log(2)
# A taught name means what it says; its exemplars refuse it only where there is hardly a trace of the kind in them.
DENIED = -4.0


def borne_out(source: NameEvidence, odds_SN: Tensor, labels: Sequence[int | None]) -> list[bool]:
    """The names that the source knows and that their own exemplars bear out: clearly more than chance would.

    A taught name is told by its places, and things can be small: such a name only must not be denied.
    """
    trusted = []
    for index, (known, taught) in enumerate(zip(source.known, taught_names(source), strict=True)):
        own = [row for row, label in enumerate(labels) if label == index]
        trusted.append(known and float(odds_SN[own, index].mean()) > (DENIED if taught else BORNE_OUT))
    return trusted


def said(
    source: NameEvidence, seen: Any, names: Sequence[int], trusted: Sequence[bool], size: tuple[int, int]
) -> Named:
    """Log-odds (B, A, H, W) and (B, A) of the A `names`, picture by picture; zeros of a name that is not trusted."""
    odds_BA, taught = source.odds(seen)[:, list(names)], taught_names(source)
    place_BAHW = odds_BA.new_zeros((*odds_BA.shape, *size))
    for row in range(len(odds_BA)):
        for column, index in enumerate(names):
            if trusted[index]:
                place_BAHW[row, column] = bounded_log_odds(source.map(seen[[row]], index))
    trusted_A = torch.tensor([trusted[index] for index in names], device=odds_BA.device)
    taught_A = trusted_A & torch.tensor([taught[index] for index in names], device=odds_BA.device)
    odds_BA = torch.where(trusted_A, odds_BA, torch.zeros_like(odds_BA))
    return Named(place_BAHW, odds_BA, taught_A.to(odds_BA).expand_as(odds_BA))
