"""Stage 1: the small backbone learns to tell base classes apart, pixel by pixel; the classifier is thrown away.

Shapes: B images, T pixels a side, C channels, h x w cells of a feature map, K base classes and background.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor, nn

from tlg.network.backbones.tiny import TinyTrunk
from tlg.recipes.tiny.bank import SceneBank
from tlg.recipes.tiny.config import BackboneStage
from tlg.recipes.tiny.pixels import augmented, shrunk_labels
from tlg.recipes.tiny.progress import Resumable
from tlg.world import BASE, index_of

HANDOVER_FILE = "handover.safetensors"

log = logging.getLogger(__name__)


class CosineHead(nn.Module):
    """Classifies cells by the angle to a class vector: the measure by which exemplars are compared later."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.vectors_KC = nn.Parameter(torch.randn(classes, channels) * 0.1)
        self.log_scale = nn.Parameter(torch.tensor(2.5))

    def forward(self, map_BChw: Tensor) -> Tensor:
        cosine = torch.einsum("bchw,kc->bkhw", F.normalize(map_BChw, dim=1), F.normalize(self.vectors_KC, dim=1))
        return cosine * self.log_scale.exp()


class BackboneLearner(nn.Module):
    """The trunk with a cosine head on some of its maps."""

    def __init__(self, taps: tuple[int, ...]) -> None:
        super().__init__()
        self.trunk = TinyTrunk()
        self.taps = taps
        self.heads = nn.ModuleList(CosineHead(TinyTrunk.channels[tap], len(BASE) + 1) for tap in taps)

    def forward(self, images_B3TT: Tensor) -> list[Tensor]:
        with torch.autocast("cpu", torch.bfloat16):
            maps = self.trunk(images_B3TT)
        return [head(maps[tap].float()) for tap, head in zip(self.taps, self.heads, strict=True)]

    def loss(self, images_B3TT: Tensor, targets_BTT: Tensor, background_weight: float) -> Tensor:
        weight = torch.ones(len(BASE) + 1)
        weight[0] = background_weight
        losses = [
            F.cross_entropy(logits, shrunk_labels(targets_BTT, TinyTrunk.strides[tap]), weight)
            for tap, logits in zip(self.taps, self(images_B3TT), strict=True)
        ]
        return torch.stack(losses).mean()


def base_targets() -> np.ndarray:
    """World label -> 0 for background, 1.. for base classes; a novel class in a scene is an error, not a target."""
    table = np.full(256, -1, np.int64)
    table[0] = 0
    for target, name in enumerate(BASE, start=1):
        table[index_of(name) + 1] = target
    return table


def learn_backbone(stage: BackboneStage, bank: SceneBank, work: Path) -> dict[str, Tensor]:
    """Trains (or goes on training) and returns the state dict of `Tiny`."""
    torch.manual_seed(stage.seed)
    learner = BackboneLearner(stage.taps).to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(learner.parameters(), lr=stage.learning_rate, weight_decay=stage.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, stage.learning_rate, total_steps=stage.horizon, pct_start=0.1
    )
    progress = Resumable(work / "backbone.pt", learner=learner, optimizer=optimizer, schedule=schedule)
    table = torch.from_numpy(base_targets())
    started = time.perf_counter()
    for step in range(progress.step, stage.steps):
        rng = np.random.default_rng([stage.seed, step])
        numbers = np.sort(rng.choice(len(bank), stage.batch_size, replace=False))
        side = int(rng.choice(stage.sides))
        images_B3TT, labels_BTT = augmented(rng, bank, numbers, side, stage.zoom, flip=True)
        targets_BTT = table[labels_BTT]
        if (targets_BTT < 0).any():
            raise AssertionError("a novel class reached the training of the backbone")
        loss = learner.loss(
            images_B3TT.contiguous(memory_format=torch.channels_last), targets_BTT, stage.background_weight
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learner.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        cool_down(optimizer, stage.steps - step - 1, stage.cooldown)
        if step % 50 == 0:
            log.info(
                "backbone step %d of %d: loss %.3f, %.0f s",
                step,
                stage.steps,
                loss.item(),
                time.perf_counter() - started,
            )
        progress.save(step + 1, every=250, last=stage.steps)
        if step + 1 == stage.handover:
            save_file(trunk_weights(learner), work / HANDOVER_FILE)
    return trunk_weights(learner)


def cool_down(optimizer: torch.optim.Optimizer, steps_left: int, cooldown: int) -> None:
    """Over the last steps the scheduled rate falls to nothing, however far the schedule itself has come."""
    for group in optimizer.param_groups:
        group["lr"] *= min(1.0, steps_left / cooldown)


def trunk_weights(learner: BackboneLearner) -> dict[str, Tensor]:
    return {f"trunk.{key}": value.contiguous() for key, value in learner.trunk.state_dict().items()}
