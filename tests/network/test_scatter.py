"""Laws of a level's scatter: equations among places answer as equations among channels; cells pool as torch does."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.network.reading import scatter
from tlg.network.reading.cues import CUES, Places, level_cues
from tlg.network.reading.head import halved
from tlg.network.reading.memory import LEAST_MASS, cells_of, remember
from tlg.network.reading.scatter import Frame, Scatter

CLASSES, PICTURES, SIDE = 3, 2, 3


def maps(count: int, channels: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    mean = 3 * torch.rand(1, channels, 1, 1, generator=generator)
    return mean + torch.randn(count, channels, SIDE, SIDE, generator=generator)


def by_definition(asked_CP: Tensor, shown_CP: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre, deviation, and the matrix of the equations, half by either's places."""
    places = [asked_CP.double(), shown_CP.double()]
    centre_C = torch.stack([some.mean(1) for some in places]).mean(0)
    halves = [(some - centre_C[:, None]) @ (some - centre_C[:, None]).T / some.shape[1] / 2 for some in places]
    variance_C = sum(halves).diagonal()
    ridge = scatter.RIDGE * variance_C.mean() + scatter.LEAST_VARIANCE
    solid_CC = sum(halves) + ridge * torch.eye(len(centre_C), dtype=torch.float64)
    return centre_C, variance_C.sqrt() + scatter.LEAST_DEVIATION, solid_CC


# With 9 places a picture: more places than channels, fewer, fewer for some, and widths at which rows are padded.
@pytest.mark.parametrize(("channels", "shots"), [(6, 1), (40, 1), (40, 3), (24, 4), (256, 1), (12, 40)])
def test_a_frame_is_what_its_definition_says(channels: int, shots: int) -> None:
    asked, shown = maps(PICTURES, channels, 1), maps(PICTURES * CLASSES * shots, channels, 2)
    classes = Scatter.of(shown, shots)
    assert classes.lists_places == ((shots + 1) * SIDE**2 <= channels)
    frame = Frame.between(Scatter.of(asked), classes)
    apart = torch.randn(PICTURES * CLASSES, channels, 2, generator=torch.Generator().manual_seed(3))
    found = frame.directions(apart)
    of_class = shown.unflatten(0, (-1, shots)).transpose(1, 2).flatten(2)
    for pair in range(PICTURES * CLASSES):
        centre, deviation, solid = by_definition(asked[pair // CLASSES].flatten(1), of_class[pair])
        torch.testing.assert_close(frame.centre[pair].double(), centre, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(frame.deviation[pair].double(), deviation, rtol=1e-4, atol=1e-4)
        solved = torch.linalg.solve(solid, apart[pair].double())
        torch.testing.assert_close(found[pair].double(), solved, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("channels", [6, 12, 40, 256])
def test_a_picture_beside_itself_is_its_own_frame(channels: int) -> None:
    asked = maps(PICTURES, channels, 1)
    places = Places.of(asked)
    own, between = Frame.of(places.scatter, places.centred), Frame.between(places.scatter, Scatter.of(asked))
    apart = torch.randn(PICTURES, channels, 1, generator=torch.Generator().manual_seed(3))
    torch.testing.assert_close(own.deviation, between.deviation)
    torch.testing.assert_close(own.directions(apart), between.directions(apart), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(("h", "w", "side"), [(50, 50, 8), (13, 17, 5), (4, 6, 8)])
@pytest.mark.parametrize(("classes", "shots", "pictures"), [(1, 1, 1), (2, 3, 6), (4, 1, 2)])
def test_cells_pool_as_torch_does(h: int, w: int, side: int, classes: int, shots: int, pictures: int) -> None:
    """Masks of shots, and several classes in one picture."""
    generator = torch.Generator().manual_seed(0)
    plane_IChw = torch.randn(pictures, 2, h, w, generator=generator)
    inside_AKhw = torch.rand(classes, shots, h, w, generator=generator)
    found = cells_of(plane_IChw, inside_AKhw, 1 - inside_AKhw, side)
    of_mass_IChw = plane_IChw.repeat_interleave(classes * shots // pictures, dim=0)
    for place, mass_AKhw in enumerate((inside_AKhw, 1 - inside_AKhw)):
        mass_I1hw = mass_AKhw.flatten(0, 1)[:, None]
        share_I1T = F.adaptive_avg_pool2d(mass_I1hw, side).flatten(2)
        mean_ICT = F.adaptive_avg_pool2d((mass_I1hw + LEAST_MASS) * of_mass_IChw, side).flatten(2)
        mean_ICT = mean_ICT / (share_I1T + LEAST_MASS)
        cells_ATC = mean_ICT.transpose(1, 2).unflatten(0, (classes, shots)).flatten(1, 2)
        torch.testing.assert_close(found.means[:, place], cells_ATC)
        share_AT = share_I1T.view(classes, -1)
        torch.testing.assert_close(found.mass[:, place], share_AT / share_AT.sum(1, keepdim=True))


@pytest.mark.parametrize("grid", [(50, 50), (25, 25), (13, 16), (1, 3)])
def test_halves_pool_as_torch_does(grid: tuple[int, int]) -> None:
    plane = torch.randn(2, 3, *grid, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(halved(plane), F.avg_pool2d(plane, 2, ceil_mode=True))


def test_classes_that_share_a_frame_answer_as_each_alone() -> None:
    asked = maps(PICTURES, 6, 1)
    inside = torch.rand(PICTURES * CLASSES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(4))
    places = Places.of(asked)
    frame = Frame.of(places.scatter, places.centred)
    repeated = asked.repeat_interleave(CLASSES, dim=0)
    cells = remember(repeated, inside, 1 - inside, side=2).cells
    together = level_cues(places, frame, cells)
    assert together.shape == (PICTURES * CLASSES, CUES, SIDE, SIDE)
    for pair in range(PICTURES * CLASSES):
        alone = Places.of(repeated[[pair]])
        cues = level_cues(alone, Frame.of(alone.scatter, alone.centred), cells[torch.tensor([pair])])
        torch.testing.assert_close(together[[pair]], cues, rtol=1e-3, atol=1e-3)


def test_a_level_that_is_constant_says_nothing_and_stays_finite() -> None:
    constant = torch.full((1, 6, SIDE, SIDE), 2.0)
    inside = torch.ones(1, 1, SIDE, SIDE)
    memory = remember(constant, inside, 1 - inside, side=2)
    places = Places.of(constant)
    cues = level_cues(places, Frame.between(places.scatter, memory.scatter), memory.cells)
    assert cues.isfinite().all()
    assert (cues - cues[..., :1, :1]).abs().max() == 0
