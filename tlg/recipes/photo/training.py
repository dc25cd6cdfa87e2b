"""Training of the head on episodes from banks; the averaged weights are the result.

Shapes: B queries, S pixels of a label map a side, h x w the answers' grid.
"""

from __future__ import annotations

import copy
import logging
import math
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.errors import SpecError
from tlg.network.backbones.backbone import Backbone
from tlg.network.reading.head import Look, ReadingHead
from tlg.network.tlg import TLG
from tlg.recipes.photo.config import TrainingStage
from tlg.recipes.photo.drawing import pick
from tlg.recipes.photo.episodes import EpisodeDrawer, Episodes
from tlg.recipes.tiny.progress import Resumable

log = logging.getLogger(__name__)

# Of the first look's loss and the second's.
LOOK_WEIGHTS = (0.5, 1.0)
# A small area counts more, up to the root of this.
MOST_WEIGHT = 25.0
LEAST_RATE = 1e-6
SAVED_EVERY = 20


def learn_head(stage: TrainingStage, drawer: EpisodeDrawer, backbone: Backbone, side: int, work: Path) -> TLG:
    """Trains, or goes on training; the network has the averaged weights."""
    torch.manual_seed(stage.seed)
    net = TLG(stage.network, backbone)
    head = net.head
    if not isinstance(head, ReadingHead):
        raise SpecError(
            f"the recipe's network has behaviour {stage.network.behaviour!r}; this training is for 'reading'"
        )
    average = copy.deepcopy(head)
    optimizer = torch.optim.AdamW(
        head.parameters(), stage.learning_rate, weight_decay=stage.weight_decay, betas=stage.betas
    )
    progress = Resumable(work / "head.pt", head=head, average=average, optimizer=optimizer)
    started = time.perf_counter()
    losses: list[float] = []
    for step in range(progress.step, stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(stage, step)
        rng = np.random.default_rng([stage.seed, step])
        episodes = drawer.draw(rng, stage.batch_size, pick(rng, stage.shots))
        loss = loss_of(answers(head, episodes, side), episodes.target)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), stage.clip)
        optimizer.step()
        follow(average, head, min(stage.average, (step + 1) / (step + 11)))
        losses.append(loss.item())
        if (step + 1) % SAVED_EVERY == 0:
            seconds = time.perf_counter() - started
            log.info("step %d of %d: loss %.3f, %.0f s", step + 1, stage.steps, float(np.mean(losses)), seconds)
            losses = []
        progress.save(step + 1, every=SAVED_EVERY, last=stage.steps)
    head.load_state_dict(average.state_dict())
    return net.eval()


def learning_rate(stage: TrainingStage, step: int) -> float:
    rising = min(1.0, (step + 1) / stage.warmup)
    return stage.learning_rate * rising * 0.5 * (1 + math.cos(math.pi * step / stage.steps)) + LEAST_RATE


def answers(head: ReadingHead, episodes: Episodes, side: int) -> list[Tensor]:
    """Logits (B,1,h,w) of both looks."""
    size, shots = (side, side), episodes.inside.shape[1]
    memory = head.describe(Look(episodes.shown, size), episodes.inside, shots, episodes.outside)
    asked = Look(episodes.query, size)
    name_B12hw = head.name_cues(asked, 1, episodes.named)
    return head.answers(asked, memory, None if name_B12hw is None else name_B12hw[:, 0])


def loss_of(looks_B1hw: Sequence[Tensor], target_BSS: Tensor) -> Tensor:
    """Of both looks: cross entropy, in which small areas count, and overlap where there is something to overlap."""
    known_B1SS = (target_BSS >= 0).float()[:, None]
    total = torch.zeros(())
    for weight, logit_B1hw in zip(LOOK_WEIGHTS, looks_B1hw, strict=True):
        grid = (logit_B1hw.shape[-2], logit_B1hw.shape[-1])
        share = F.adaptive_avg_pool2d(target_BSS.clamp(min=0)[:, None], grid)
        known = (F.adaptive_avg_pool2d(known_B1SS, grid) > 0.5).float()
        area, all_known = (share * known).sum((1, 2, 3)), known.sum((1, 2, 3)).clamp(min=1)
        smallness = ((all_known - area) / (area + 1)).clamp(1, MOST_WEIGHT).sqrt()[:, None, None, None]
        counts = (1 + (smallness - 1) * share) * known
        entropy = F.binary_cross_entropy_with_logits(logit_B1hw, share, reduction="none") * counts
        entropy_B = entropy.sum((1, 2, 3)) / counts.sum((1, 2, 3)).clamp(min=1)
        taken = logit_B1hw.sigmoid() * known
        apart_B = 1 - (2 * (taken * share).sum((1, 2, 3)) + 1) / (taken.sum((1, 2, 3)) + area + 1)
        total = total + weight * (entropy_B + apart_B * (area > 0)).mean()
    return total


@torch.no_grad()
def follow(average: nn.Module, current: nn.Module, decay: float) -> None:
    for kept, now in zip(average.parameters(), current.parameters(), strict=True):
        kept.lerp_(now, 1 - decay)
