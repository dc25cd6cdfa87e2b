"""What training minimises.

Shapes: B episodes, S shots, H x W the logits' size, h x w the truth's.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.training.batches.sampling import LOSS_IGNORES
from tlg.training.spec import LossSpec


def episode_loss(
    query_logits_B2HW: Tensor,
    support_logits_BS2HW: Tensor,
    query_truth_Bhw: Tensor,
    support_truth_BShw: Tensor,
    weights: LossSpec,
) -> Tensor:
    """Weighted losses of both branches; parameter norms are added by who holds the parameters."""
    query = branch_loss(query_logits_B2HW, query_truth_Bhw, weights.dice)
    support = branch_loss(support_logits_BS2HW.flatten(0, 1), support_truth_BShw.flatten(0, 1), weights.dice)
    return weights.query * query + weights.support * support


def branch_loss(logits_B2HW: Tensor, truth_Bhw: Tensor, dice: float) -> Tensor:
    logits = F.interpolate(logits_B2HW.float(), truth_Bhw.shape[-2:], mode="bilinear", align_corners=False)
    # The mean over known pixels; a batch without any counts nothing instead of dividing by zero.
    known = (truth_Bhw != LOSS_IGNORES).sum().clamp(min=1)
    loss = F.cross_entropy(logits, truth_Bhw, ignore_index=LOSS_IGNORES, reduction="sum") / known
    return loss + dice * dice_loss(logits, truth_Bhw) if dice else loss


def objectness_loss(logits_B1HW: Tensor, truth_Bhw: Tensor, things_B: Tensor) -> Tensor:
    """Any object against its surroundings; pictures asked for surroundings teach nothing here."""
    logits = F.interpolate(logits_B1HW.float(), truth_Bhw.shape[-2:], mode="bilinear", align_corners=False)[:, 0]
    known = (truth_Bhw != LOSS_IGNORES) & things_B[:, None, None]
    loss = F.binary_cross_entropy_with_logits(logits, (truth_Bhw == 1).float(), reduction="none")
    return (loss * known).sum() / known.sum().clamp(min=1)


def dice_loss(logits_B2HW: Tensor, truth_BHW: Tensor) -> Tensor:
    """One minus the soft Dice coefficient of the class, averaged over images."""
    known = (truth_BHW != LOSS_IGNORES).float()
    truth = (truth_BHW == 1).float()
    probability = logits_B2HW.softmax(dim=1)[:, 1] * known
    overlap = (probability * truth).sum((1, 2))
    return (1 - (2 * overlap + 1) / (probability.sum((1, 2)) + truth.sum((1, 2)) + 1)).mean()


def parameter_norms(parameters: Iterable[Tensor]) -> Tensor:
    """The sum of the parameters' L2 norms (of the trainable ones: a frozen backbone is not decayed)."""
    return torch.stack([parameter.norm() for parameter in parameters if parameter.requires_grad]).sum()
