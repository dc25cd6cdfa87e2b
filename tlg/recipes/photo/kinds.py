"""Kinds of things taught by name: a classifier of places, learned from plain and made photographs.

What it says of a picture that it learned from is surer than what it says of others. So each half of the pictures is
told by a classifier that learned from the other half, and the one that ships learned from both.

Shapes: N pictures, T kinds, B of a batch, g x g the finest map's grid, S pixels of a label map a side.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tlg.evidence.names.taught import TaughtKinds
from tlg.evidence.names.words import kind_of
from tlg.network.backbones.backbone import Backbone
from tlg.recipes.photo.bank import Bank, BankNames, opened
from tlg.recipes.photo.config import DataStage, KindsStage
from tlg.recipes.photo.photographs import NO_FOLD, class_names, judged_by
from tlg.recipes.tiny.progress import Resumable

log = logging.getLogger(__name__)

# A kind is shown where it takes this share of a picture.
LEAST_SHOWN = 0.0025
# Places told at once when a bank is told.
PICTURES_AT_ONCE = 16
# A small area counts more, up to the root of this.
MOST_WEIGHT = 25.0
SAVED_EVERY = 50
HALVES = 2

Kinds = Mapping[str, Sequence[int]]


def kinds_of_fold(data: DataStage, fold: str) -> dict[str, tuple[int, ...]]:
    """The kinds and their classes; a fold is taught no kind that holds one of the classes it is judged on."""
    novel = set() if fold == NO_FOLD else judged_by(data, fold)[1]
    return {kind: classes for kind, classes in data.kinds.items() if novel.isdisjoint(classes)}


class KindLabels:
    """What label maps say of kinds: on the grid of the finest map, shares and what is known of them."""

    def __init__(self, banks: Sequence[Bank], kinds: Kinds) -> None:
        self.kinds = list(kinds)
        self._member = torch.zeros((1 + max(int(bank.labels.max()) for bank in banks), len(kinds)))
        for column, classes in enumerate(kinds.values()):
            self._member[[class_id for class_id in classes if class_id < len(self._member)], column] = 1

    def shares(self, label_SS: np.ndarray, grid: int) -> tuple[Tensor, Tensor]:
        """(T,g,g) shares of the kinds, and (1,g,g) where enough is known; what is no class may be of any kind."""
        label = torch.from_numpy(np.asarray(label_SS).astype(np.int64))
        known_1SS = (label > 0).float()[None]
        planes_TSS = self._member[label.clamp(min=0)].permute(2, 0, 1)
        known_1gg = F.adaptive_avg_pool2d(known_1SS, grid)
        shares_Tgg = F.adaptive_avg_pool2d(planes_TSS * known_1SS, grid) / known_1gg.clamp(min=1e-6)
        return shares_Tgg, (known_1gg > 0.5).float()

    def shown(self, label_SS: np.ndarray) -> Tensor:
        """(T,): 1 shown, 0 not, -1 unknown."""
        label = torch.from_numpy(np.asarray(label_SS).astype(np.int64))
        areas_T = self._member[label.clamp(min=0)].mean((0, 1))
        absent = 0.0 if bool((label != 0).all()) else -1.0
        return torch.where(areas_T >= LEAST_SHOWN, torch.ones_like(areas_T), torch.full_like(areas_T, absent))


def taught_kinds(
    stage: KindsStage, backbone: Backbone, banks: Sequence[Bank], kinds: Kinds, work: Path
) -> tuple[TaughtKinds, list[Tensor]]:
    """The classifier that ships, and (N,T,g,g) log-odds of every bank's pictures by the one that did not see them."""
    labels = KindLabels(banks, kinds)
    pictures = [(bank, number) for bank in banks for number in range(len(bank))]
    halves = [
        learned(
            stage,
            backbone,
            [picture for picture in pictures if picture[1] % HALVES != half],
            labels,
            work / f"half-{half}.pt",
        )
        for half in range(HALVES)
    ]
    told = [by_the_other_half(halves, bank) for bank in banks]
    shipped = learned(stage, backbone, pictures, labels, work / "kinds.pt")
    fit_presence(shipped, torch.cat([shipped.loudness(places) for places in told]), pictures, labels)
    return shipped, told


def learned(
    stage: KindsStage, backbone: Backbone, pictures: Sequence[tuple[Bank, int]], labels: KindLabels, file: Path
) -> TaughtKinds:
    torch.manual_seed(stage.seed)
    net = TaughtKinds(backbone, labels.kinds, stage.width)
    optimizer = torch.optim.AdamW(net.parameters(), stage.learning_rate, weight_decay=stage.weight_decay)
    progress = Resumable(file, net=net, optimizer=optimizer)
    net.train()
    losses: list[float] = []
    for step in range(progress.step, stage.steps):
        for group in optimizer.param_groups:
            group["lr"] = stage.learning_rate * 0.5 * (1 + math.cos(math.pi * step / stage.steps)) + 1e-6
        rng = np.random.default_rng([stage.seed, step])
        chosen = [pictures[int(row)] for row in rng.choice(len(pictures), stage.batch_size)]
        loss = loss_of(*batch_of(chosen, labels, rng, net))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
        if (step + 1) % SAVED_EVERY == 0:
            log.info("%s: step %d of %d: loss %.3f", file.stem, step + 1, stage.steps, float(np.mean(losses)))
            losses = []
        progress.save(step + 1, every=SAVED_EVERY, last=stage.steps)
    return net.eval()


def batch_of(
    pictures: Sequence[tuple[Bank, int]], labels: KindLabels, rng: np.random.Generator, net: TaughtKinds
) -> tuple[Tensor, Tensor, Tensor]:
    """Log-odds and shares (B,T,g,g), what is known (B,1,g,g)."""
    maps, shares, known = [], [], []
    for bank, number in pictures:
        mirrored = bool(rng.random() < 0.5)
        levels = [torch.from_numpy(np.asarray(level[number], np.float32)) for level in bank.maps]
        planes = [*levels, *labels.shares(bank.labels[number], levels[0].shape[-1])]
        planes = [plane.flip(-1) if mirrored else plane for plane in planes]
        maps.append(planes[:-2])
        shares.append(planes[-2])
        known.append(planes[-1])
    return net([torch.stack(level) for level in zip(*maps, strict=True)]), torch.stack(shares), torch.stack(known)


def loss_of(odds_BTgg: Tensor, share_BTgg: Tensor, known_B1gg: Tensor) -> Tensor:
    """Cross entropy, in which small areas count, and overlap of the kinds that are shown."""
    places_B1 = known_B1gg.sum((2, 3)).clamp(min=1)
    area_BT = (share_BTgg * known_B1gg).sum((2, 3))
    smallness_BT = ((places_B1 - area_BT) / (area_BT + 1)).clamp(1, MOST_WEIGHT).sqrt()[..., None, None]
    counts_BTgg = (1 + (smallness_BT - 1) * share_BTgg) * known_B1gg
    entropy = F.binary_cross_entropy_with_logits(odds_BTgg, share_BTgg, reduction="none") * counts_BTgg
    taken_BTgg = odds_BTgg.sigmoid() * known_B1gg
    overlap_BT = (2 * (taken_BTgg * share_BTgg).sum((2, 3)) + 1) / (taken_BTgg.sum((2, 3)) + area_BT + 1)
    shown_BT = (area_BT > 0).float()
    return (entropy.sum((2, 3)) / places_B1).sum(1).mean() + ((1 - overlap_BT) * shown_BT).sum(1).mean()


@torch.inference_mode()
def by_the_other_half(halves: Sequence[TaughtKinds], bank: Bank) -> Tensor:
    """(N,T,g,g)"""
    grid = bank.maps[0].shape[-1]
    places = torch.zeros((len(bank), len(halves[0].kinds), grid, grid))
    for half, net in enumerate(halves):
        numbers = range(half, len(bank), HALVES)
        for start in range(0, len(numbers), PICTURES_AT_ONCE):
            rows = list(numbers[start : start + PICTURES_AT_ONCE])
            places[rows] = net([torch.from_numpy(np.asarray(level[rows], np.float32)) for level in bank.maps])
    return places


def fit_presence(
    net: TaughtKinds, loudness_NT: Tensor, pictures: Sequence[tuple[Bank, int]], labels: KindLabels
) -> None:
    """Sets how loudness tells whether a picture shows a kind, kinds being there and absent equally often."""
    shown_NT = torch.stack([labels.shown(bank.labels[number]) for bank, number in pictures])
    for column in range(len(labels.kinds)):
        known = shown_NT[:, column] >= 0
        truth_K = shown_NT[known, column]
        slope_offset = torch.tensor([1.0, 0.0], requires_grad=True)
        weights = torch.where(
            truth_K > 0, 0.5 / truth_K.mean().clamp(min=1e-3), 0.5 / (1 - truth_K).mean().clamp(min=1e-3)
        )
        solver = torch.optim.LBFGS([slope_offset], max_iter=50)

        def closure(
            loud_K: Tensor = loudness_NT[known, column],
            truth_K: Tensor = truth_K,
            weights: Tensor = weights,
            line: Tensor = slope_offset,
            solver: torch.optim.LBFGS = solver,
        ) -> Tensor:
            solver.zero_grad()
            odds_K = line[0] * loud_K + line[1]
            loss = F.binary_cross_entropy_with_logits(odds_K, truth_K, weights) + 0.01 * (
                (line[0] - 1) ** 2 + line[1] ** 2
            )
            loss.backward()
            return loss

        solver.step(closure)
        net.slope.data[column], net.offset.data[column] = slope_offset.detach()


@torch.inference_mode()
def as_bank_names(folder: Path, net: TaughtKinds, places_NTgg: Tensor, data: DataStage) -> BankNames:
    """What is kept with a bank: for every class whose name is of a taught kind, probabilities and log-odds."""
    column_of = {
        index: net.kinds.index(kind)
        for index, name in class_names(data).items()
        if (kind := kind_of(name)) in net.kinds
    }
    classes, columns = tuple(column_of), list(column_of.values())
    if not classes:
        return BankNames((), np.zeros((len(places_NTgg), 0, 1, 1)), np.zeros((len(places_NTgg), 0), np.float32))
    shape = (len(places_NTgg), len(classes), *places_NTgg.shape[2:])
    place = opened(folder / "taught.npy", np.float16, shape)
    place[:] = places_NTgg[:, columns].sigmoid().numpy()
    return BankNames(classes, place, net.pictures(places_NTgg)[:, columns].numpy())
