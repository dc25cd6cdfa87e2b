"""Large pictures with small things in them, for any model: tiles are answered beside the whole picture and merged.

Where a model says what it reads (`input_side`), `run.tile: auto` chooses by the exemplars; any can be told a size.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from tlg.annotators.memory import annotate_within_memory
from tlg.annotators.protocol import AnnotateParams, Annotator, BackgroundArrays, FitsBackground, LoadedModel
from tlg.annotators.tiles.grid import Grid, Tile
from tlg.annotators.tiles.merging import Merger, Said
from tlg.annotators.tiles.things import Choice, Things, choice_of
from tlg.annotators.tiles.windows import in_windows
from tlg.answers.records import Answer, at_min_score
from tlg.errors import InputError, SpecError
from tlg.exemplars import LoadedExemplar, LoadedExemplars
from tlg.pictures import Picture

DECIMALS = 3
# So many tiles are cut out and answered together.
TILES_AT_ONCE = 8


@dataclass(frozen=True)
class TiledModel:
    """See `tlg.annotators.protocol.LoadedModel`; small pictures are answered by the model as it is."""

    model: LoadedModel

    @property
    def digest(self) -> str:
        return self.model.digest

    def with_exemplars(self, exemplars: LoadedExemplars, params: AnnotateParams | None = None) -> Annotator:
        params = params or AnnotateParams()
        if params.tile == "off" or (params.tile == "auto" and input_side(self.model) is None):
            return self.model.with_exemplars(exemplars, params)
        return TiledAnnotator(self.model, exemplars, params)

    def background_of(self, pictures: Iterable[Picture]) -> BackgroundArrays:
        """See `tlg.annotators.protocol.FitsBackground`; a model that is none is refused."""
        return self._fitting().background_of(pictures)

    def with_background(self, background: BackgroundArrays) -> TiledModel:
        return TiledModel(self._fitting().with_background(background))

    def _fitting(self) -> FitsBackground:
        if isinstance(self.model, FitsBackground):
            return self.model
        raise SpecError(
            f"run.background is `collection`, and a {type(self.model).__name__} learns nothing of collections;"
            " leave the key out, or choose tlg-photo or another model of the network"
        )


def input_side(model: LoadedModel) -> int | None:
    """The longer side of what the model reads, where it says so."""
    return getattr(model, "input_side", None)


class TiledAnnotator:
    """See `tlg.annotators.protocol.Annotator`. What tiles need is encoded when the first large picture comes."""

    def __init__(self, model: LoadedModel, exemplars: LoadedExemplars, params: AnnotateParams):
        self._model, self._exemplars = model, exemplars
        # Whoever scores low in one tile may be borne out by others: the threshold comes after merging.
        self._inner_params = params.model_copy(update={"min_score": 0.0})
        self._whole = model.with_exemplars(exemplars, self._inner_params)
        self._things: Things | None = None
        self._close: dict[int, Annotator] = {}
        self.model_digest = self._whole.model_digest
        self.exemplars_digest = self._whole.exemplars_digest
        self.params = params
        self.class_names = self._whole.class_names

    def annotate(
        self, pictures: Sequence[Picture], asked: Sequence[Sequence[str] | None] | None = None
    ) -> list[list[Answer]]:
        asked = [None] * len(pictures) if asked is None else asked
        found = []
        for picture, names, answers in zip(pictures, asked, self._whole.annotate(pictures, asked), strict=True):
            choice = self._choice(picture)
            tiled = answers if choice is None else self._tiled(picture, names, answers, choice)
            found.append([at_min_score(answer, self.params.min_score) for answer in tiled])
        return found

    def release_memory(self) -> None:
        for annotator in (self._whole, *self._close.values()):
            annotator.release_memory()

    def healthy(self) -> bool:
        return self._whole.healthy()

    def _choice(self, picture: Picture) -> Choice | None:
        longest = max(picture.pixels.shape[:2])
        # Exemplars have the image's own pixels, of which a very large one has lost some.
        scale = longest / max(picture.height, picture.width)
        return choice_of(self.params.tile, self._seen_things, self.class_names, longest, input_side(self._model), scale)

    def _seen_things(self) -> Things:
        if self._things is None:
            self._things = Things.of(self._exemplars, self._look)
        return self._things

    def _look(self, name: str, shown: LoadedExemplar) -> np.ndarray:
        height, width = shown.pixels.shape[:2]
        ((answer,),) = self._whole.annotate([Picture(shown.pixels, height, width)], [[name]])
        return answer.mask

    def _annotator_of_tiles(self, side: int) -> Annotator:
        """With exemplars as large as tiles, so that things are as large in both."""
        if side not in self._close:
            cut = in_windows(self._exemplars, self._seen_things(), side)
            is_same = cut is self._exemplars
            self._close[side] = self._whole if is_same else self._model.with_exemplars(cut, self._inner_params)
        return self._close[side]

    def _tiled(
        self, picture: Picture, asked: Sequence[str] | None, whole: Sequence[Answer], choice: Choice
    ) -> list[Answer]:
        names = [name for name in choice.names if asked is None or name in asked]
        if not names:
            return list(whole)
        height, width = picture.pixels.shape[:2]
        grid = Grid.over(height, width, choice.side)
        said = self._said(picture, names, grid, self._annotator_of_tiles(choice.side))
        smallest = self.params.smallest_object if self.params.objects else None
        merger = Merger(grid, picture, DECIMALS, smallest)
        return [
            merger.merged(answer, said[answer.class_name]) if answer.class_name in said else answer for answer in whole
        ]

    def _said(self, picture: Picture, names: list[str], grid: Grid, annotator: Annotator) -> dict[str, list[Said]]:
        said: dict[str, list[Said]] = {name: [] for name in names}
        tiles = list(grid)
        for start in range(0, len(tiles), TILES_AT_ONCE):
            some = tiles[start : start + TILES_AT_ONCE]
            shown = [_cut(picture, tile) for tile in some]
            for tile, answers in zip(some, annotate_within_memory(annotator, shown, [names] * len(some)), strict=True):
                if isinstance(answers, InputError):
                    raise answers
                for answer in answers:
                    said[answer.class_name].append(Said(tile, answer))
        return said


def _cut(picture: Picture, tile: Tile) -> Picture:
    return Picture(np.ascontiguousarray(picture.pixels[tile.within]), tile.height, tile.width)
