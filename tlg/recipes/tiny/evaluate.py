"""The bundled model on scenes it has never seen, of classes TLG has never seen: mIoU, the prior alone, presence.

Run `python -m tlg.recipes.tiny evaluate`; figures are printed and written as JSON.

Shapes: B episodes, K shots, N novel classes, S pixels a side of a scene.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.answers.metrics import IoUTally
from tlg.recipes.tiny.parts import Parts
from tlg.recipes.tiny.pixels import normalised
from tlg.world import NOVEL, Scene, index_of, scene

SCENE_SIZE = 256
BATCH = 10


@dataclass(frozen=True)
class Trial:
    """A query scene, the class asked for, and its exemplars, of which only the label is known."""

    name: str
    query: Scene
    supports: list[Scene]


def trials(count: int, shots: int, seed: int) -> Iterator[Trial]:
    """Query scenes are the same for any number of shots, and one shot is the first of five."""
    for number in range(count):
        name = NOVEL[number % len(NOVEL)]
        query, *supports = (
            scene(np.random.default_rng([seed, number, part]), SCENE_SIZE, NOVEL, required=name)
            for part in range(1 + shots)
        )
        yield Trial(name, query, supports)


@dataclass(frozen=True)
class Figures:
    """`prior_miou` is the text prior thresholded, without TLG."""

    scenes: int
    shots: int
    miou: float
    prior_miou: float
    fb_iou: float
    class_iou: dict[str, float]


@torch.inference_mode()
def segmentation_figures(parts: Parts, side: int, count: int, shots: int, seed: int) -> Figures:
    answers, priors = IoUTally(), IoUTally()
    batch: list[Trial] = []
    for trial in trials(count, shots, seed):
        batch.append(trial)
        if len(batch) == BATCH:
            tally_batch(parts, side, batch, answers, priors)
            batch = []
    if batch:
        tally_batch(parts, side, batch, answers, priors)
    return Figures(
        count,
        shots,
        answers.mean_iou(),
        priors.mean_iou(),
        answers.fb_iou(),
        {name: answers.class_iou(index_of(name)) for name in NOVEL if index_of(name) in answers.class_union},
    )


def tally_batch(parts: Parts, side: int, batch: list[Trial], answers: IoUTally, priors: IoUTally) -> None:
    B, K = len(batch), len(batch[0].supports)
    scenes = [trial.query for trial in batch] + [support for trial in batch for support in trial.supports]
    images = network_images(scenes, side)
    text = parts.words.of([trial.name for trial in batch])
    owner = torch.cat([torch.arange(B), torch.arange(B).repeat_interleave(K)])
    prior_Ihw = parts.words.own_prior(images, text.foreground[owner])
    features = parts.network.encode(images)
    answer = parts.network.episode(features[:B], features[B:], prior_Ihw[:B], prior_Ihw[B:].unflatten(0, (B, K)), text)
    answer_BSS = at_scene_size(answer.query.softmax(1)[:, 1]) >= 0.5
    prior_BSS = at_scene_size(prior_Ihw[:B]) >= 0.5
    for row, trial in enumerate(batch):
        truth = trial.query.labels == index_of(trial.name) + 1
        nothing_ignored = np.zeros_like(truth)
        answers.add(index_of(trial.name), answer_BSS[row].numpy(), truth, nothing_ignored)
        priors.add(index_of(trial.name), prior_BSS[row].numpy(), truth, nothing_ignored)


def network_images(scenes: list[Scene], side: int) -> Tensor:
    pixels = normalised(np.stack([scene.image for scene in scenes]))
    resized = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
    return resized.contiguous(memory_format=torch.channels_last)


def at_scene_size(map_Bhw: Tensor) -> Tensor:
    return F.interpolate(map_Bhw[:, None], (SCENE_SIZE, SCENE_SIZE), mode="bilinear")[:, 0]


@torch.inference_mode()
def presence_auc(parts: Parts, side: int, count: int, seed: int) -> float:
    """ROC-AUC of presence over every pair of a scene and a novel class."""
    scores, truths = [], []
    made = [trial.query for trial in trials(count, 0, seed)]
    clip, class_ND = parts.words.clip, parts.words.of(NOVEL).foreground
    for start in range(0, count, BATCH):
        some = made[start : start + BATCH]
        scores.append(clip.presence(clip.cells(network_images(some, side)), class_ND))
        truths.append(torch.tensor([[name in scene.present for name in NOVEL] for scene in some]))
    return roc_auc(torch.cat(scores).flatten().numpy(), torch.cat(truths).flatten().numpy())


def roc_auc(score_X: np.ndarray, truth_X: np.ndarray) -> float:
    """The share of pairs, one present and one absent, that the score puts in order; ties count half."""
    order = np.argsort(score_X, kind="stable")
    _, inverse, counts = np.unique(score_X[order], return_inverse=True, return_counts=True)
    rank_of_value = np.cumsum(counts) - (counts - 1) / 2
    ranks = np.empty(len(score_X))
    ranks[order] = rank_of_value[inverse]
    present = int(truth_X.sum())
    absent = len(truth_X) - present
    return float((ranks[truth_X].sum() - present * (present + 1) / 2) / (present * absent))
