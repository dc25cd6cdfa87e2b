"""Episodes from banks: queries that show several things are asked for two of them, or for what they do not show.

Shapes: B queries, K shots, S pixels of a label map a side, G cells of the finest map's grid, C channels, h x w a grid,
n x n the grid of names, s x s that of the prior's maps.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.evidence.fusion import bounded_log_odds, unmasked_map
from tlg.evidence.names.said import DENIED
from tlg.network.named import Named
from tlg.recipes.photo.bank import NAME_CELLS, Bank
from tlg.recipes.photo.drawing import chance, pick, sample, whole
from tlg.recipes.photo.masks import given

# A class is shown where it takes this share of a picture.
LEAST_SHOWN = 0.0025
# Of the queries that show one class alone: how many are asked for an absent class as well.
ABSENT = 0.3
# Of all questions: how many are asked by a name that says nothing, whether it would or not.
NAMELESS = 0.4
# Of those that are asked by name: how many may hear what was taught.
TAUGHT = 0.5
# Of all queries: how many give part of themselves to another query's picture.
SHARED = 0.25


class Voice(Enum):
    """Who speaks for a name: nobody, the backbone's classifier, or what was taught, then the classifier."""

    NOBODY = auto()
    CLASSIFIER = auto()
    TAUGHT = auto()


@dataclass(frozen=True)
class Said:
    """The probability of each place, the log-odds of the picture, and whether the name was taught with masks."""

    place: Tensor  # (n,n)
    picture: float
    taught: bool


@dataclass(frozen=True)
class Picture:
    """A picture of a bank; `shows` lists classes that other pictures show as well."""

    bank: Bank
    number: int
    group: str
    shows: tuple[int, ...]
    holds: frozenset[int]  # every class, however little of it

    def maps(self, mirrored: bool) -> list[Tensor]:
        row = self.number
        maps = [torch.from_numpy(np.asarray(level[row], np.float32)) for level in self.bank.maps]
        return [level.flip(-1) for level in maps] if mirrored else maps

    def label(self, mirrored: bool) -> Tensor:
        label = torch.from_numpy(self.bank.labels[self.number].astype(np.int64))
        return label.flip(-1) if mirrored else label

    def said(self, class_id: int, voice: Voice, mirrored: bool) -> Said | None:
        """What the class's name says; None: nothing."""
        taught = self.bank.taught if voice is Voice.TAUGHT else None
        is_taught = taught is not None and class_id in taught.classes
        names = taught if taught is not None and is_taught else self.bank.names
        if voice is Voice.NOBODY or class_id not in names.classes:
            return None
        row, column = self.number, names.classes.index(class_id)
        place_nn = torch.from_numpy(names.place[row, column].astype(np.float32))
        place_nn = at_grid(place_nn.flip(-1) if mirrored else place_nn, NAME_CELLS)
        return Said(place_nn, float(names.picture[row, column]), is_taught)

    def unmasked(self, class_id: int, voice: Voice, mirrored: bool) -> Tensor:
        """(s,s): the picture's own map of the class where no person drew one, as an annotator makes it."""
        own_ss = torch.from_numpy(self.bank.own[self.number].astype(np.float32))
        own_ss = own_ss.flip(-1) if mirrored else own_ss
        said = self.said(class_id, voice, mirrored)
        if said is None or said.picture <= (DENIED if said.taught else 0):
            return unmasked_map(own_ss, None)
        return unmasked_map(own_ss, at_grid(said.place, len(own_ss)), said.taught)


def at_grid(map_nn: Tensor, side: int) -> Tensor:
    return F.interpolate(map_nn[None, None], (side, side), mode="bilinear", align_corners=False)[0, 0]


@dataclass(frozen=True)
class Asked:
    """One question: a picture, mirrored or not, and the class asked of it, by its name or not."""

    picture: Picture
    class_id: int
    mirrored: bool
    voice: Voice = Voice.NOBODY

    def target(self) -> Tensor:
        """(S,S): 1 the class, 0 not, -1 unknown."""
        label = self.picture.label(self.mirrored)
        return torch.where(label < 0, -1.0, (label == self.class_id).float())

    def said(self) -> Said:
        """With log-odds of the places; zeros where the name says nothing."""
        said = self.picture.said(self.class_id, self.voice, self.mirrored)
        if said is None:
            return Said(torch.zeros(NAME_CELLS, NAME_CELLS), 0.0, False)
        return replace(said, place=bounded_log_odds(said.place))


@dataclass(frozen=True)
class Episodes:
    query: list[Tensor]  # (B,C,h,w) each
    named: Named
    target: Tensor  # (B,S,S)
    shown: list[Tensor]  # (B*K,C,h,w) each, query by query
    inside: Tensor  # (B,K,G,G)
    outside: Tensor  # (B,K,G,G)
    asked: list[Asked]
    exemplars: list[list[Picture]]


class EpisodeDrawer:
    """Draws batches of questions with exemplars from banks."""

    def __init__(self, banks: Sequence[tuple[Bank, Sequence[str]]], mix: Mapping[str, float]) -> None:
        """`banks` come with the group of each of their pictures; `mix` weighs the groups."""
        listed = [(bank, number, group) for bank, groups in banks for number, group in enumerate(groups)]
        held = [areas(bank.labels[number]) for bank, number, _ in listed]
        counts: dict[int, int] = {}
        for of_class in held:
            for class_id, area in of_class.items():
                counts[class_id] = counts.get(class_id, 0) + (area >= LEAST_SHOWN)
        self.pictures = [
            Picture(
                bank,
                number,
                group,
                tuple(class_id for class_id, area in of_class.items() if area >= LEAST_SHOWN and counts[class_id] > 1),
                frozenset(of_class),
            )
            for (bank, number, group), of_class in zip(listed, held, strict=True)
        ]
        self.showing: dict[int, list[Picture]] = {}
        self.groups: dict[str, list[Picture]] = {}
        for picture in self.pictures:
            for class_id in picture.shows:
                self.showing.setdefault(class_id, []).append(picture)
            if picture.shows:
                self.groups.setdefault(picture.group, []).append(picture)
        self.mix = {group: weight for group, weight in mix.items() if group in self.groups}

    def draw(self, rng: np.random.Generator, count: int, shots: int) -> Episodes:
        asked: list[Asked] = []
        while len(asked) < count:
            asked += self.questions(rng)
        asked = asked[:count]
        query = [
            torch.stack(level)
            for level in zip(*(question.picture.maps(question.mirrored) for question in asked), strict=True)
        ]
        target = torch.stack([question.target() for question in asked])
        said = [question.said() for question in asked]
        place = torch.stack([saying.place for saying in said])
        grid = query[0].shape[-1]
        exemplars = [self.exemplars(rng, question, shots) for question in asked]
        shown, inside, outside = [], [], []
        for question, pictures in zip(asked, exemplars, strict=True):
            for exemplar in pictures:
                shown.append(exemplar.maps(mirrored := chance(rng, 0.5)))
                unmasked_ss = exemplar.unmasked(question.class_id, question.voice, mirrored)
                pair = given(rng, exemplar.label(mirrored), question.class_id, grid, unmasked_ss)
                inside.append(pair[0])
                outside.append(pair[1])
        picture = torch.tensor([saying.picture for saying in said])
        taught = torch.tensor([float(saying.taught) for saying in said])
        for row, there in share_pictures(rng, asked, [place, *query], target).items():
            picture[row] = torch.maximum(picture[row], torch.tensor(there.said().picture))
        return Episodes(
            query,
            Named(place[:, None], picture[:, None], taught[:, None]),
            target,
            [torch.stack(level) for level in zip(*shown, strict=True)],
            torch.stack(inside).unflatten(0, (count, shots)),
            torch.stack(outside).unflatten(0, (count, shots)),
            asked,
            exemplars,
        )

    def questions(self, rng: np.random.Generator) -> list[Asked]:
        """One or two classes asked of one picture; rare classes are asked more often than they are met."""
        weights = np.array(list(self.mix.values()))
        group = self.groups[list(self.mix)[int(rng.choice(len(weights), p=weights / weights.sum()))]]
        picture, mirrored = pick(rng, group), chance(rng, 0.5)
        rarity = np.array([len(self.showing[class_id]) ** -0.5 for class_id in picture.shows])
        first = picture.shows[int(rng.choice(len(rarity), p=rarity / rarity.sum()))]
        others = [class_id for class_id in picture.shows if class_id != first]
        classes = [first]
        if others:
            classes.append(pick(rng, others))
        elif chance(rng, ABSENT):
            absent = pick(rng, pick(rng, group).shows)
            classes += [absent] if absent not in picture.holds else []
        return [Asked(picture, class_id, mirrored, voice(rng)) for class_id in classes]

    def exemplars(self, rng: np.random.Generator, asked: Asked, shots: int) -> list[Picture]:
        """Other pictures of the class; one comes again only where there are fewer than `shots`."""
        others = [picture for picture in self.showing[asked.class_id] if picture is not asked.picture]
        return sample(rng, others, shots) if len(others) >= shots else [pick(rng, others) for _ in range(shots)]


def voice(rng: np.random.Generator) -> Voice:
    if chance(rng, NAMELESS):
        return Voice.NOBODY
    return Voice.TAUGHT if chance(rng, TAUGHT) else Voice.CLASSIFIER


def areas(label_SS: np.ndarray) -> dict[int, float]:
    """Class -> its share of the picture."""
    found, counts = np.unique(label_SS, return_counts=True)
    return {int(class_id): count / label_SS.size for class_id, count in zip(found, counts, strict=True) if class_id > 0}


def share_pictures(
    rng: np.random.Generator, asked: Sequence[Asked], seen: Sequence[Tensor], target: Tensor
) -> dict[int, Asked]:
    """Part of some queries gives way to another query's picture, along borders of the coarsest map's cells.

    `seen` is what names say of places, then the maps. Returns, by row, the question as asked of the other picture.
    """
    shared: dict[int, Asked] = {}
    pictures = [*seen, target]
    before, cells = [plane.clone() for plane in pictures], seen[-1].shape[-1]
    for row, question in enumerate(asked):
        if not chance(rng, SHARED):
            continue
        other = int(rng.integers(len(asked)))
        at, upright, first = whole(rng, cells // 3, 2 * cells // 3), chance(rng, 0.5), chance(rng, 0.5)
        if asked[other].picture is question.picture:
            continue
        there = Asked(asked[other].picture, question.class_id, asked[other].mirrored, question.voice)
        sources = [there.said().place, *(kept[other] for kept in before[1:-1]), there.target()]
        for plane, source in zip(pictures, sources, strict=True):
            side = plane.shape[-1]
            border = at * side // cells
            part = slice(0, border) if first else slice(border, side)
            place = (..., part) if upright else (..., part, slice(None))
            plane[row][place] = source[place]
        shared[row] = there
    return shared
