"""HC, heterogeneous text: each branch is modulated by a different sentence about the class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tlg.network.repaired.aggregation import Branch


@dataclass(frozen=True)
class TextVectors:
    """Unit vectors (B, D) of the class name, of the name with its attributes, and of its typical surroundings."""

    foreground: Tensor
    refined: Tensor
    background: Tensor

    def __getitem__(self, rows: slice | list[int] | Tensor) -> TextVectors:
        return TextVectors(self.foreground[rows], self.refined[rows], self.background[rows])

    def to(self, target: torch.device | torch.dtype | str) -> TextVectors:
        return TextVectors(self.foreground.to(target), self.refined.to(target), self.background.to(target))


class TextModulation(nn.Module):
    """Support channels are scaled by the refined name, query channels by name and surroundings together."""

    def __init__(self, text_dim: int, width: int) -> None:
        super().__init__()
        self.support = nn.Linear(text_dim, width)
        self.query = nn.Linear(2 * text_dim, width)

    def forward(self, branch_XDHW: Tensor, text: TextVectors, branch: Branch) -> Tensor:
        if branch == "support":
            scale = self.support(text.refined.to(branch_XDHW.dtype))
        else:
            scale = self.query(torch.cat([text.foreground, text.background], dim=-1).to(branch_XDHW.dtype))
        return branch_XDHW * (1 + torch.tanh(scale))[:, :, None, None]
