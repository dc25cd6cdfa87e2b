"""Where photographs come from, as a config names them, and what of them a fold allows to be seen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from tlg.datasets.coco import CocoInstances, coco_novel_classes
from tlg.datasets.episodes import (
    Collection,
    Episode,
    EpisodesFile,
    Photo,
    photos_of,
    queries_at_random,
    queries_in_list_order,
    without_classes,
)
from tlg.datasets.folder import IndexMapFolder, PairFolder
from tlg.datasets.fss import FSS1000
from tlg.datasets.pascal import PascalVOC, pascal_novel_classes
from tlg.documents import Document
from tlg.errors import SpecError

GROUP_EPISODES = 10


class PascalSource(Document):
    kind: Literal["pascal"]
    root: Path = Field(description="The VOC2012 folder")

    def folds(self) -> list[str]:
        return ["0", "1", "2", "3"]

    def base(self, fold: str) -> tuple[Collection, list[Photo]]:
        voc = PascalVOC(self.root, "train")
        return voc, without_classes(voc.photos, pascal_novel_classes(int(fold)))

    def evaluation(self, fold: str, shots: int, count: int | None, seed: int) -> EvaluationSet:
        voc, novel = PascalVOC(self.root, "val"), pascal_novel_classes(int(fold))
        return EvaluationSet(voc, novel, queries_in_list_order(voc.photos, novel, shots, count or 1000, seed))


class CocoSource(Document):
    kind: Literal["coco"]
    root: Path = Field(description="The folder with annotations/ and the images' folders")
    train: str = "train2014"
    val: str = "val2014"

    def folds(self) -> list[str]:
        return ["0", "1", "2", "3"]

    def base(self, fold: str) -> tuple[Collection, list[Photo]]:
        coco = CocoInstances(self.root, self.train)
        return coco, without_classes(coco.photos, coco_novel_classes(int(fold)))

    def evaluation(self, fold: str, shots: int, count: int | None, seed: int) -> EvaluationSet:
        coco, novel = CocoInstances(self.root, self.val), coco_novel_classes(int(fold))
        return EvaluationSet(coco, novel, queries_at_random(coco.photos, novel, shots, count or 5000, seed))


class FssSource(Document):
    kind: Literal["fss"]
    root: Path = Field(description="The folder with one folder per class and splits/{train,val,test}.txt")

    def folds(self) -> list[str]:
        return ["0"]

    def base(self, fold: str) -> tuple[Collection, list[Photo]]:
        fss = FSS1000(self.root, "train")
        return fss, list(fss.photos)

    def evaluation(self, fold: str, shots: int, count: int | None, seed: int) -> EvaluationSet:
        fss = FSS1000(self.root, "test")
        novel = sorted(fss.class_names)
        return EvaluationSet(
            fss, novel, queries_in_list_order(fss.photos, novel, shots, count or len(fss.photos), seed)
        )


class IndexMapSource(Document):
    kind: Literal["index_maps"]
    root: Path = Field(description="The folder with images/, labels/ and classes.json")
    episodes: Path = Field(description="JSON file with the folds: their novel classes and episodes")

    def folds(self) -> list[str]:
        return sorted(EpisodesFile.read(self.episodes).folds)

    def base(self, fold: str) -> tuple[Collection, list[Photo]]:
        # A fold's episode photographs show novel classes by construction: their label maps stay closed.
        file = EpisodesFile.read(self.episodes)
        folder = IndexMapFolder(self.root, unread=file.photo_ids(fold))
        return folder, without_classes(folder.photos, file.novel_classes(fold))

    def evaluation(self, fold: str, shots: int, count: int | None, seed: int) -> EvaluationSet:
        file, folder = EpisodesFile.read(self.episodes), IndexMapFolder(self.root)
        return EvaluationSet(folder, file.novel_classes(fold), file.episodes(fold, shots, folder.photo)[:count])


class PairSource(Document):
    """As base data all of its groups are base classes; in an evaluation, of one fold, all of them are novel."""

    kind: Literal["pairs"]
    root: Path = Field(description="The folder with <group>/<name>.jpg and <group>/<name>.png")

    def folds(self) -> list[str]:
        return ["0"]

    def evaluation(self, fold: str, shots: int, count: int | None, seed: int) -> EvaluationSet:
        """`count` episodes of every group (ten by default) that has photographs enough for a query and its supports."""
        pairs = PairFolder(self.root)
        groups = [index for index in pairs.class_names if len(photos_of(pairs.photos, index)) > shots]
        episodes = [
            episode
            for index in groups
            for episode in queries_at_random(pairs.photos, [index], shots, count or GROUP_EPISODES, seed)
        ]
        return EvaluationSet(pairs, groups, episodes)

    def base(self, fold: str) -> tuple[Collection, list[Photo]]:
        pairs = PairFolder(self.root)
        return pairs, list(pairs.photos)


# What has base classes and novel ones; a folder of pairs, which is all the one or all the other, is a source alone.
Benchmark = Annotated[PascalSource | CocoSource | FssSource | IndexMapSource, Field(discriminator="kind")]
Source = Annotated[PascalSource | CocoSource | FssSource | IndexMapSource | PairSource, Field(discriminator="kind")]


class EvaluationSet:
    """A fold's episodes with the collection that scores them."""

    def __init__(self, collection: Collection, novel_classes: Sequence[int], episodes: Sequence[Episode]) -> None:
        if not episodes:
            raise SpecError(f"{collection.name}: no episodes to answer")
        self.collection, self.novel_classes, self.episodes = collection, list(novel_classes), list(episodes)
