"""Laws of edge refinement."""

import pytest
import torch

from tlg.evidence.refine import refine


def halves(height: int = 48, width: int = 64) -> tuple[torch.Tensor, torch.Tensor]:
    """An image whose right third is bright, and a map that is right about it but blurred over the edge."""
    image = torch.zeros(1, 3, height, width)
    image[:, :, :, 2 * width // 3 :] = 1
    ramp = torch.linspace(0, 1, width).expand(1, 1, height, width)
    return image, ramp.clone()


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (48, 64), (300, 5)])
def test_every_size_gives_maps_of_its_own_size_within_0_and_1(size):
    rng = torch.Generator().manual_seed(0)
    images, maps = torch.randn(2, 3, *size, generator=rng), torch.rand(2, 4, *size, generator=rng)
    refined = refine(maps, images)
    assert refined.shape == maps.shape
    assert torch.isfinite(refined).all()
    assert float(refined.min()) >= 0
    assert float(refined.max()) <= 1


def test_batch_equals_single():
    rng = torch.Generator().manual_seed(1)
    images, maps = torch.randn(2, 3, 40, 50, generator=rng), torch.rand(2, 3, 40, 50, generator=rng)
    alone = torch.cat([refine(maps[[row]], images[[row]]) for row in range(2)])
    torch.testing.assert_close(refine(maps, images), alone, atol=1e-5, rtol=0)


def test_a_blurred_edge_moves_to_the_images():
    image, ramp = halves()
    refined = refine(ramp, image)[0, 0, 24]
    edge = 2 * 64 // 3
    jump = (refined[edge + 1] - refined[edge - 2]) - (ramp[0, 0, 24, edge + 1] - ramp[0, 0, 24, edge - 2])
    assert jump > 0.1
