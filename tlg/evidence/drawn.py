"""Boxes, points and scribbles as maps, by the picture's own affinity.

Each box is cut out of a window a little larger than the box, where everything outside of all boxes is background;
points and scribbles grow in the whole picture. Where the class's name agrees with what was drawn about places, the name
has its say in the cut.

Shapes: H x W the input size, S x S the places of a window, L = S * S of them, C channels, N places with a stroke.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.evidence.cutout import Known, cut_out
from tlg.evidence.fusion import alike, between, bounded_log_odds
from tlg.evidence.refine import refine, to_unit_colours
from tlg.exemplars import Drawing, LoadedExemplar, Scribble
from tlg.exemplars.drawing import Box, Point, inked
from tlg.network.features import Features

WINDOW_SIDE = 64
# Where no box holds it, what was found would spread with every further round.
BOX_ROUNDS, STROKE_ROUNDS = 3, 1
# A window reaches beyond its box by this share of the box, and of the whole picture at least by that.
MARGIN, LEAST_MARGIN = 0.5, 0.03
# A box is mostly its object, in the middle more than at the corners.
MIDDLE_SLOPE, MIDDLE_REACH = 1.5, 1.2
# An object ends in a strip along each side of its box, of this share of the box.
SIDE = 0.12
# A point is a dot this wide, a share of the window's side.
DOT = 1 / 32
# How alike a place is to strokes and how near, before anything is fitted.
LIKENESS_SLOPE, LIKENESS_THRESHOLD, NEARNESS = 8.0, 0.1, 0.5
# Where the agreement of a name with a drawing begins and where it is whole: the correlation of the name's map with
# what to believe first.
NAME_AGREES = (0.2, 0.5)
# A box is known once a mask covers this share of it.
COVERED = 0.02


@torch.no_grad()
def given_map(
    exemplar: LoadedExemplar, image_13HW: Tensor, features: Features, by_name_HW: Tensor | None
) -> Tensor | None:
    """(H, W) in 0..1: the mask that a person gave, drew or hinted at; None where nobody drew anything. `by_name_HW` is
    where the class's name has it, None of a name that nobody knows."""
    mask_HW = None
    if exemplar.mask is not None:
        mask = torch.from_numpy(exemplar.mask).to(image_13HW)[None, None]
        mask_HW = F.interpolate(mask, size=features.size, mode="area")[0, 0]
    if exemplar.drawing is None:
        return mask_HW
    return drawn_map(exemplar.drawing, exemplar.pixels.shape[:2], features, image_13HW, mask_HW, by_name_HW)


def drawn_map(
    drawing: Drawing,
    shape: tuple[int, int],
    features: Features,
    image_13HW: Tensor,
    mask_HW: Tensor | None = None,
    by_name_HW: Tensor | None = None,
) -> Tensor:
    """(H, W) in 0..1, above 0.5 on what was drawn on a picture of `shape`.

    A mask that was given too is taken as it is: boxes and strokes on what it marks add nothing to it.
    """
    drawing = drawing.scaled(1 / shape[1], 1 / shape[0])
    if mask_HW is not None:
        drawing = beside(drawing, mask_HW)
    colours_13HW = to_unit_colours(image_13HW.float())
    features_1Chw = joined(features)
    map_HW = torch.zeros(features.size, device=image_13HW.device)
    for task in tasks(drawing, features_1Chw):
        window_1CSS, window_13SS = task.window.sampled(features_1Chw), task.window.sampled(colours_13HW)
        leaning_L = torch.zeros_like(task.start)
        if by_name_HW is not None:
            leaning_L = leaning(task.window.sampled(by_name_HW[None, None]).flatten(), task.known.held(task.start))
        found_SS = cut_out(task.known, task.start, leaning_L, window_1CSS, window_13SS, task.rounds)
        if task.seeds is not None:
            found_SS = found_SS * connected(found_SS > 0.5, task.seeds)
        map_HW = torch.maximum(map_HW, task.window.laid_back(found_SS, features.size))
    map_HW = refine(map_HW[None, None], colours_13HW)[0, 0]
    if not (drawing.points or drawing.scribbles):
        map_HW = map_HW * WHOLE.boxed(drawing.boxes, features.size).to(map_HW.device)
    return map_HW if mask_HW is None else torch.maximum(map_HW, mask_HW)


def joined(features: Features) -> Tensor:
    """(1, C, h, w): maps that see details and maps that see things, on the finest grid, of equal weight."""
    grids = [tuple(plane.shape[-2:]) for plane in features.maps]
    levels = [list(indices) for _, indices in groupby(range(len(grids)), key=grids.__getitem__)][:2]
    coarser = levels[-1]
    chosen = sorted({levels[0][-1], coarser[(len(coarser) - 1) // 2], coarser[-1]})
    maps = [standardised(features.maps[index].float()) for index in chosen]
    return torch.cat([F.interpolate(plane, size=grids[0], mode="bilinear", align_corners=False) for plane in maps], 1)


def standardised(map_1Chw: Tensor) -> Tensor:
    """Channels with mean 0 and deviation 1 over the picture, places of length 1."""
    centred = map_1Chw - map_1Chw.mean((2, 3), keepdim=True)
    return F.normalize(centred / centred.square().mean((2, 3), keepdim=True).sqrt().clamp_min(1e-6), dim=1)


@dataclass(frozen=True)
class Window:
    """A rectangle of the picture, its sides in shares of the picture's, seen as S x S places."""

    left: float
    top: float
    right: float
    bottom: float

    @staticmethod
    def around(box: Box) -> Window:
        x, y, width, height = box
        # A thin box needs background on its long sides too.
        beside = MARGIN * max(width, height / 2) + LEAST_MARGIN
        above = MARGIN * max(height, width / 2) + LEAST_MARGIN
        return Window(
            max(0.0, x - beside), max(0.0, y - above), min(1.0, x + width + beside), min(1.0, y + height + above)
        )

    def places(self, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Middles of the rows (h, 1) and of the columns (1, w) of a grid over the window."""
        rows, columns = ((torch.arange(count) + 0.5) / count for count in size)
        down = self.top + (self.bottom - self.top) * rows
        return down[:, None], (self.left + (self.right - self.left) * columns)[None]

    def sampled(self, map_1CHW: Tensor) -> Tensor:
        """(1, C, S, S) of a map of the whole picture."""
        y_S1, x_1S = self.places((WINDOW_SIDE, WINDOW_SIDE))
        return _sampled(map_1CHW, x_1S, y_S1)

    def laid_back(self, found_SS: Tensor, size: tuple[int, int]) -> Tensor:
        """What was found in the window, in its place of a picture (H, W) that is 0 elsewhere."""
        y_H1, x_1W = WHOLE.places(size)
        across = (x_1W - self.left) / (self.right - self.left)
        down = (y_H1 - self.top) / (self.bottom - self.top)
        within = ((across >= 0) & (across <= 1) & (down >= 0) & (down <= 1)).to(found_SS.device)
        return _sampled(found_SS[None, None], across, down)[0, 0] * within

    def boxed(self, boxes: Sequence[Box], size: tuple[int, int]) -> Tensor:
        """(h, w) bool: the places whose middle lies in a box; no box is so small that it has none."""
        y_h1, x_1w = self.places(size)
        least_down, least_across = (self.bottom - self.top) / size[0], (self.right - self.left) / size[1]
        inside = torch.zeros(size, dtype=torch.bool)
        for x, y, width, height in boxes:
            near_x = (x_1w - x - width / 2).abs() <= max(width, least_across) / 2
            near_y = (y_h1 - y - height / 2).abs() <= max(height, least_down) / 2
            inside |= near_x & near_y
        return inside

    def sides(self, box: Box) -> list[Tensor]:
        """(S, S) bool of each of a box's four sides, a strip inside of it: that is where its object ends."""
        x, y, width, height = box
        across, down = SIDE * width, SIDE * height
        strips = [(x, y, width, down), (x, y + height - down, width, down)]
        strips += [(x, y, across, height), (x + width - across, y, across, height)]
        return [self.boxed([strip], (WINDOW_SIDE, WINDOW_SIDE)) for strip in strips]

    def marked(self, scribbles: Sequence[Scribble]) -> Tensor:
        """(S, S) bool: the places that strokes run over."""
        across, down = WINDOW_SIDE / (self.right - self.left), WINDOW_SIDE / (self.bottom - self.top)
        moved = [
            Scribble(
                points=[((x - self.left) * across, (y - self.top) * down) for x, y in scribble.points],
                width=max(1.0, scribble.width * (across * down) ** 0.5),
            )
            for scribble in scribbles
        ]
        return torch.from_numpy(inked(moved, WINDOW_SIDE, WINDOW_SIDE).copy())


WHOLE = Window(0.0, 0.0, 1.0, 1.0)


@dataclass(frozen=True)
class Task:
    """A window, what is known in it, what to believe first (L,), and how often to think again.

    With seeds (S, S) only what is connected with them counts.
    """

    window: Window
    known: Known
    start: Tensor
    rounds: int
    seeds: Tensor | None = None


def tasks(drawing: Drawing, features_1Chw: Tensor) -> Iterator[Task]:
    device = features_1Chw.device
    on, beside = [*drawing.scribbles, *dots(drawing.points)], dots(drawing.not_points)
    for box in drawing.boxes:
        window = Window.around(box)
        own = window.boxed([box], (WINDOW_SIDE, WINDOW_SIDE))
        others = window.boxed(drawing.boxes, (WINDOW_SIDE, WINDOW_SIDE)) & ~own
        refused = window.marked(beside)
        possible, certain = (own & ~refused).flatten(), (own & window.marked(on)).flatten()
        sides = [side.flatten() for side in window.sides(box)]
        known = Known(possible, certain, others.flatten(), sides)
        yield Task(window, _on(known, device), middle_of(box, window).flatten().to(device), BOX_ROUNDS)
    boxed = WHOLE.boxed(drawing.boxes, (WINDOW_SIDE, WINDOW_SIDE))
    seeds, refused = WHOLE.marked(on) & ~boxed, WHOLE.marked(beside)
    if seeds.any():
        known = Known((~boxed & ~refused).flatten(), seeds.flatten(), boxed.flatten())
        start_L = like_strokes(WHOLE.sampled(features_1Chw), seeds, refused)
        yield Task(WHOLE, _on(known, device), start_L, STROKE_ROUNDS, seeds.to(device))


def leaning(by_name_L: Tensor, start_L: Tensor) -> Tensor:
    """(L,) log-odds by which a name moves places: its own, in their deviations, as far as it agrees with `start_L`."""
    odds_L = bounded_log_odds(by_name_L)
    odds_L = odds_L - odds_L.mean()
    return between(alike(by_name_L, start_L), *NAME_AGREES) * odds_L / odds_L.std().clamp_min(1e-6)


def connected(marked_SS: Tensor, seeds_SS: Tensor) -> Tensor:
    """(S, S) bool: the marked places that a chain of marked neighbours joins to a seed."""
    reached_SS, before = seeds_SS, -1
    while (count := int(reached_SS.sum())) != before:
        before = count
        reached_SS = (F.max_pool2d(reached_SS[None, None].float(), 3, 1, 1)[0, 0] > 0) & (marked_SS | seeds_SS)
    return reached_SS


def dots(points: Sequence[Point]) -> list[Scribble]:
    return [Scribble(points=[point], width=DOT) for point in points]


def middle_of(box: Box, window: Window) -> Tensor:
    """(S, S): what a box says of its inside before the picture is looked at."""
    y_S1, x_1S = window.places((WINDOW_SIDE, WINDOW_SIDE))
    x, y, width, height = box
    far_SS = (2 * (x_1S - x) / width - 1).square() + (2 * (y_S1 - y) / height - 1).square()
    return torch.sigmoid(MIDDLE_SLOPE * (MIDDLE_REACH - far_SS))


def like_strokes(features_1CSS: Tensor, seeds_SS: Tensor, refused_SS: Tensor) -> Tensor:
    """(L,): how alike each place is to what strokes lie on, rather than to what points lie beside, and how near."""
    places_LC = F.normalize(features_1CSS.flatten(2)[0].T, dim=1)
    seeds_L, refused_L = seeds_SS.flatten().to(places_LC.device), refused_SS.flatten().to(places_LC.device)
    alike_L = (places_LC @ places_LC[seeds_L].T).amax(1)
    if refused_L.any():
        unlike_L = (places_LC @ places_LC[refused_L].T).amax(1)
        alike_L = alike_L - (unlike_L - LIKENESS_THRESHOLD).clamp_min(0)
    place_L2 = torch.cartesian_prod(*(torch.linspace(0, 1, WINDOW_SIDE, device=places_LC.device),) * 2)
    far_L = torch.cdist(place_L2, place_L2[seeds_L]).amin(1)
    return torch.sigmoid(LIKENESS_SLOPE * (alike_L - LIKENESS_THRESHOLD)) * torch.exp(-((far_L / NEARNESS) ** 2))


def beside(drawing: Drawing, mask_HW: Tensor) -> Drawing:
    """What of a drawing does not lie on the mask."""
    return drawing.model_copy(
        update={
            "boxes": [box for box in drawing.boxes if not is_covered(box, mask_HW)],
            "points": [point for point in drawing.points if not is_marked([point], mask_HW)],
            "scribbles": [scribble for scribble in drawing.scribbles if not is_marked(scribble.points, mask_HW)],
        }
    )


def is_marked(points: Sequence[Point], mask_HW: Tensor) -> bool:
    height, width = mask_HW.shape
    places = ((int(y * height), int(x * width)) for x, y in points)
    return any(mask_HW[min(max(row, 0), height - 1), min(max(column, 0), width - 1)] > 0.5 for row, column in places)


def is_covered(box: Box, mask_HW: Tensor) -> bool:
    inside_HW = WHOLE.boxed([box], (mask_HW.shape[0], mask_HW.shape[1])).to(mask_HW.device)
    return bool((mask_HW * inside_HW).sum() > COVERED * inside_HW.sum())


def _on(known: Known, device: torch.device) -> Known:
    sides = [side.to(device) for side in known.reached]
    return Known(known.possible.to(device), known.certain.to(device), known.ignored.to(device), sides)


def _sampled(map_1CHW: Tensor, across_1w: Tensor, down_h1: Tensor) -> Tensor:
    """A map at places given in shares of its sides, bilinearly."""
    across_hw, down_hw = torch.broadcast_tensors(across_1w * 2 - 1, down_h1 * 2 - 1)
    grid_1hw2 = torch.stack([across_hw, down_hw], -1)[None].to(map_1CHW)
    return F.grid_sample(map_1CHW, grid_1hw2, mode="bilinear", padding_mode="border", align_corners=False)
