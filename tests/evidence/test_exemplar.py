"""Laws of the exemplar prior on tiny feature pyramids."""

import pytest
import torch

from tlg.errors import CheckpointError, SpecError
from tlg.evidence import Background, Prior, exemplar
from tlg.evidence.descriptors import DescriptorSpace, deep_maps
from tlg.evidence.exemplar import ceded, otsu
from tlg.network.features import Features

SIZE = (64, 48)


def random_features(count: int, seed: int, device: str = "cpu") -> Features:
    rng = torch.Generator().manual_seed(seed)
    shapes = [(8, 16, 12), (12, 8, 6), (16, 4, 3), (20, 4, 3)]
    maps = [torch.randn(count, *shape, generator=rng).to(device) for shape in shapes]
    return Features(maps, SIZE)


def planted(seed: int, place: tuple[slice, slice], sign: float) -> Features:
    """Random features with a strong common pattern at `place` of every map's relative grid."""
    features = random_features(1, seed)
    for number, one in enumerate(features.maps):
        rows, columns = (one.shape[2] // 4, one.shape[3] // 3)
        pattern = torch.randn(one.shape[1], generator=torch.Generator().manual_seed(100 + number))
        y = slice(place[0].start * rows, place[0].stop * rows)
        x = slice(place[1].start * columns, place[1].stop * columns)
        one[0, :, y, x] = sign * 5 * pattern[:, None, None]
    return features


@pytest.fixture
def background() -> Background:
    return Background.fit([random_features(6, seed=1), random_features(4, seed=2)])


def fit(prior: Prior, shots: int = 2):
    support = random_features(2 * shots + 1, seed=3)
    labels = [0] * shots + [1] * shots + [None]
    return prior.fit([(support[[row]], label, None) for row, label in enumerate(labels)])


def test_maps_are_of_input_size_and_between_0_and_1(background):
    fitted = fit(Prior(background))
    maps = fitted.maps(random_features(3, seed=4))
    assert maps.shape == (3, 2, *SIZE)
    assert float(maps.min()) >= 0
    assert float(maps.max()) <= 1
    assert fitted.support_maps.shape == (5, *SIZE)


@pytest.mark.parametrize("with_background", [True, False])
def test_batch_equals_single(background, with_background):
    fitted = fit(Prior(background if with_background else None))
    query = random_features(3, seed=5)
    together = fitted.maps(query)
    alone = torch.cat([fitted.maps(query[[row]]) for row in range(3)])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)
    torch.testing.assert_close(
        fitted.presence(query), torch.cat([fitted.presence(query[[row]]) for row in range(3)]), atol=1e-5, rtol=0
    )


def test_fitting_is_deterministic_and_leaves_global_randomness_alone(background):
    state = torch.get_rng_state()
    first, second = fit(Prior(background)), fit(Prior(background))
    query = random_features(2, seed=6)
    assert torch.equal(first.maps(query), second.maps(query))
    assert torch.equal(torch.get_rng_state(), state)


def test_shot_order_does_not_matter(background):
    support, query = random_features(3, seed=7), random_features(2, seed=8)
    forward = Prior(background).fit([(support[[row]], 0, None) for row in (0, 1, 2)])
    backward = Prior(background).fit([(support[[row]], 0, None) for row in (2, 1, 0)])
    torch.testing.assert_close(forward.maps(query), backward.maps(query), atol=1e-5, rtol=0)


def test_a_planted_object_is_found(background):
    """The same pattern lies in the middle of the exemplar and at another place of the query."""
    exemplar = planted(9, (slice(1, 3), slice(1, 2)), 1.0)
    query = planted(10, (slice(1, 3), slice(2, 3)), 1.0)
    maps = Prior(background).fit([(exemplar, 0, None)]).maps(query)[0, 0]
    inside = maps[20:44, 36:].mean()
    outside = torch.cat([maps[:, :20].flatten(), maps[:10].flatten()]).mean()
    assert inside > outside + 0.2


def test_an_exemplars_mask_is_used(background):
    exemplar = planted(11, (slice(0, 2), slice(0, 1)), 1.0)
    mask = torch.zeros(SIZE)
    mask[:32, :16] = 1
    fitted = Prior(background).fit([(exemplar, 0, mask)])
    assert fitted.support_maps[0, 4:20, 2:10].min() > 0.9
    assert fitted.support_maps[0, 48:].max() < 0.1


def test_several_classes_compete_only_with_rivals_that_are_present(background):
    """Class 0 alone and class 0 beside a class that cannot be there give the same map."""
    support, query = random_features(2, seed=20), random_features(2, seed=21)
    density = torch.rand(2, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    alone = ceded(density, torch.tensor([[1.0, 0.0], [1.0, 0.0]]))[:, 0]
    assert torch.equal(alone, torch.ones_like(alone))
    both = ceded(density, torch.ones(2, 2))
    leads = density[:, 0] > density[:, 1]
    assert torch.equal(both[:, 0][leads], torch.ones_like(both[:, 0][leads]))
    assert (both[:, 0][~leads] < 1).all()
    maps = Prior(background).fit([(support[[0]], 0, None), (support[[1]], 1, None)]).maps(query)
    assert torch.isfinite(maps).all()


def test_the_best_split_separates_two_groups():
    score = torch.tensor([[[0.0, 0.1, 0.2, 5.0, 5.1]]])
    assert 0.2 < float(otsu(score)) < 5.0


def test_a_query_that_is_an_exemplar_scores_higher_presence_than_noise(background):
    support = random_features(4, seed=22)
    fitted = Prior(background).fit([(support[[row]], 0, None) for row in range(3)])
    assert float(fitted.presence(support[[0]])) > float(fitted.presence(random_features(1, seed=23)))


def test_no_gradients_are_kept(background):
    fitted = fit(Prior(background))
    query = random_features(1, seed=12)
    for one in query.maps:
        one.requires_grad_()
    assert not fitted.maps(query).requires_grad
    assert not fitted.presence(query).requires_grad


def test_a_constant_picture_gives_finite_maps(background):
    flat = Features([torch.ones_like(one) for one in random_features(1, seed=13).maps], SIZE)
    fitted = Prior(background).fit([(flat, 0, None)])
    assert torch.isfinite(fitted.maps(flat)).all()
    assert torch.isfinite(fitted.presence(flat)).all()


def test_a_class_without_an_exemplar_is_an_error(background):
    support = random_features(2, seed=14)
    with pytest.raises(SpecError, match="class 0 of 2 has none"):
        Prior(background).fit([(support[[0]], 1, None), (support[[1]], None, None)])
    with pytest.raises(SpecError, match="there are none"):
        Prior(background).fit([(support[[0]], None, None)])


def test_background_survives_being_saved(background):
    again = Background.from_tensors(background.tensors())
    query = random_features(2, seed=15)
    assert torch.equal(fit(Prior(again)).maps(query), fit(Prior(background)).maps(query))
    with pytest.raises(CheckpointError, match="fit it again"):
        Background.from_tensors({"mean.0": torch.zeros(3)})


def test_deep_maps_are_the_deepest_grid_and_one_finer():
    assert deep_maps(random_features(1, seed=16).maps) == (1, 2, 3)


def test_descriptors_are_unit_vectors():
    features = random_features(2, seed=17)
    described = DescriptorSpace.fit([features], width=12).describe(features)
    assert described.fine.shape == (2, 12, 8, 6)
    assert described.coarse.shape == (2, 12, 4, 3)
    torch.testing.assert_close(described.fine.norm(dim=1), torch.ones(2, 8, 6))


def test_only_the_deep_maps_are_read(background):
    features = random_features(3, 5)
    emptied = exemplar.without_shallow_maps(features, background.space.chosen)
    for prior in (Prior(background), Prior()):
        whole, deep = (
            prior.fit([(one[[row]], 0, None) for row in range(3)]).support_maps for one in (features, emptied)
        )
        assert torch.equal(whole, deep)
