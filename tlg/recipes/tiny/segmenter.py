"""Stage 3: TLG learns from episodes of base classes; supports carry image-level labels and CLIP's pseudo-masks.

Shapes: B episodes, K shots, T pixels a side, h x w cells of CLIP's map.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.network.backbones.backbone import Backbone
from tlg.network.tlg import TLG
from tlg.recipes.tiny.bank import SceneBank
from tlg.recipes.tiny.config import Round, SegmenterStage
from tlg.recipes.tiny.parts import Words
from tlg.recipes.tiny.pixels import augmented
from tlg.recipes.tiny.progress import Resumable
from tlg.world import BASE, NOVEL, index_of

log = logging.getLogger(__name__)

QUERY_WEIGHT, SUPPORT_WEIGHT = 1.4, 0.6


@dataclass(frozen=True)
class Episodes:
    """B episodes of K shots as numbers of scenes in a bank."""

    classes: list[str]
    queries: np.ndarray  # (B,)
    supports: np.ndarray  # (B,K)


class EpisodeDrawer:
    """Draws training episodes: a class, scenes that hold it, and now and then a query that does not."""

    def __init__(self, bank: SceneBank, classes: Sequence[str], absent_share: float) -> None:
        self.bank, self.classes, self.absent_share = bank, list(classes), absent_share
        self.holding = {name: np.array(bank.holding(name)) for name in self.classes}

    def draw(self, rng: np.random.Generator, count: int, shots: int) -> Episodes:
        classes = [str(name) for name in rng.choice(self.classes, count)]
        scenes = np.stack([rng.choice(self.holding[name], 1 + shots, replace=False) for name in classes])
        queries = scenes[:, 0]
        for row, name in enumerate(classes):
            if rng.random() < self.absent_share:
                queries[row] = self.draw_without(rng, name)
        return Episodes(classes, queries, scenes[:, 1:])

    def draw_without(self, rng: np.random.Generator, name: str) -> int:
        while True:
            number = int(rng.integers(len(self.bank)))
            if name not in self.bank.present[number]:
                return number


class SegmenterLearner:
    """One training step of TLG on the world; backbone and CLIP stay as they are."""

    def __init__(self, stage: SegmenterStage, bank: SceneBank, net: TLG, words: Words) -> None:
        self.stage, self.bank, self.net, self.words = stage, bank, net, words
        self.drawer = EpisodeDrawer(bank, BASE, stage.absent_share)

    def loss(self, rng: np.random.Generator, part: Round) -> Tensor:
        shots = int(rng.choice(self.stage.shots))
        episodes = self.drawer.draw(rng, max(2, part.images_per_step // (1 + shots)), shots)
        B = len(episodes.classes)
        numbers = np.concatenate([episodes.queries, episodes.supports.ravel()])
        images, labels = augmented(rng, self.bank, numbers, self.stage.side, self.stage.zoom, flip=True)
        images = images.contiguous(memory_format=torch.channels_last)
        owner = torch.cat([torch.arange(B), torch.arange(B).repeat_interleave(shots)])
        wanted = torch.tensor([index_of(name) + 1 for name in episodes.classes])
        truth_ITT = (labels == wanted[owner][:, None, None]).long()
        text = self.words.of(episodes.classes)
        prior_Ihw = self.words.own_prior(images, text.foreground[owner])
        prior_Ihw = weakened(rng, prior_Ihw, part.weakening)
        with torch.autocast("cpu", torch.bfloat16):
            features = self.net.encode(images)
            answer = self.net.episode(
                features[:B], features[B:], prior_Ihw[:B], prior_Ihw[B:].unflatten(0, (B, shots)), text
            )
        query_loss = balanced_loss(answer.query.float(), truth_ITT[:B], part.overlap)
        support_loss = balanced_loss(answer.support.float().flatten(0, 1), truth_ITT[B:], part.overlap)
        return QUERY_WEIGHT * query_loss + SUPPORT_WEIGHT * support_loss


def weakened(rng: np.random.Generator, prior_Ihw: Tensor, most: float) -> Tensor:
    """The same maps with their log-odds lowered, each by its own amount of 0 to `most`."""
    shift_I11 = torch.from_numpy(rng.uniform(0, most, (len(prior_Ihw), 1, 1))).float()
    return torch.sigmoid(torch.logit(prior_Ihw, eps=1e-6) - shift_I11)


def balanced_loss(logits_I2TT: Tensor, truth_ITT: Tensor, overlap: float) -> Tensor:
    """Cross entropy, and overlap (Dice), which counts a small object as much as a large one."""
    share_ITT = logits_I2TT.softmax(1)[:, 1]
    overlap_I = (share_ITT * truth_ITT).sum((1, 2))
    total_I = share_ITT.sum((1, 2)) + truth_ITT.sum((1, 2))
    dice = 1 - (2 * overlap_I + 1) / (total_I + 1)
    return F.cross_entropy(logits_I2TT, truth_ITT) + overlap * dice.mean()


def learn_segmenter(stage: SegmenterStage, bank: SceneBank, backbone: Backbone, words: Words, work: Path) -> TLG:
    """Trains (or goes on training) and returns the network."""
    if shown := {name for present in bank.present for name in present} & set(NOVEL):
        raise AssertionError(f"novel classes in the training scenes: {sorted(shown)}")
    torch.manual_seed(stage.seed)
    net = TLG(stage.network, backbone)
    trainable = [weights for weights in net.parameters() if weights.requires_grad]
    learner = SegmenterLearner(stage, bank, net, words)
    done = 0
    for number, part in enumerate(stage.rounds):
        optimizer = torch.optim.AdamW(trainable, lr=part.learning_rate, weight_decay=stage.weight_decay)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, part.learning_rate, total_steps=part.horizon, pct_start=0.1
        )
        progress = Resumable(work / f"segmenter-{number}.pt", net=net, optimizer=optimizer, schedule=schedule)
        started = time.perf_counter()
        for step in range(progress.step, part.steps):
            loss = learner.loss(np.random.default_rng([stage.seed, done + step]), part)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(trainable, 1.0)
            optimizer.step()
            schedule.step()
            if step % 20 == 0:
                seconds = time.perf_counter() - started
                log.info(
                    "TLG round %d step %d of %d: loss %.3f, %.0f s", number, step, part.steps, loss.item(), seconds
                )
            progress.save(step + 1, every=60, last=part.steps)
        done += part.steps
    return net.eval()
