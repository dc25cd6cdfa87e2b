"""Released behaviour agrees with what the published network computes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from tests.network import parity_recipe as recipe
from tlg.errors import CheckpointError, InputError
from tlg.hub.published import from_published
from tlg.network.tlg import TLG

TOLERANCE = 1e-4
EXPECTED = Path(__file__).parent / "expected_resnet50.npz"


@pytest.fixture(scope="module")
def network() -> TLG:
    return from_published(recipe.published_state_dict("resnet50"), backbone="resnet50")


# One token sits on a softmax's tie, so that the order of summation shows, which depends on processor and threads. The
# published figures come from one order, and one of these gives them.
THREADS = (2, 1)
Computed = Callable[[int], dict[str, Tensor]]


@pytest.fixture(scope="module")
def computed(network: TLG) -> Iterator[Computed]:
    """What the network gives with so many threads."""
    before = torch.get_num_threads()

    @lru_cache
    def with_threads(count: int) -> dict[str, Tensor]:
        torch.set_num_threads(count)
        return steps(network)

    yield with_threads
    torch.set_num_threads(before)


def steps(network: TLG) -> dict[str, Tensor]:
    """Everything that the expected file holds; steps on the way come from the very modules that `forward` calls."""
    head = network.head
    images = torch.stack([recipe.image(index) for index in range(6)])
    masks = torch.stack([recipe.pseudo_mask(index) for index in range(6)])
    text = recipe.text([3, 17])
    with torch.inference_mode():
        query, first, second = network.encode(images[:2]), network.encode(images[2:4]), network.encode(images[4:])
        squeezed_q, squeezed_s = head.squeezed(query.maps, first.maps)
        aggregated = {
            "query": head.aggregate(query.maps, squeezed_s, "query"),
            "support": head.aggregate(first.maps, squeezed_q, "support"),
        }
        middle = head.reduced_middle(first.maps)
        found = {"squeezed_query": squeezed_q[:, ::8, ::5, ::5], "squeezed_support": squeezed_s[:, ::8, ::5, ::5]}
        branches = {}
        for branch, one in aggregated.items():
            attended, transported = head.attend(one)
            branches[branch] = head.transfer(one, middle, branch)
            found[f"aggregated_{branch}"] = one[:, ::8, ::5, ::5]
            found[f"self_attention_{branch}"] = attended[:, ::5, ::4]
            found[f"transported_{branch}"] = transported[:, ::5, ::4]
            found[f"residual_{branch}"] = branches[branch][:, ::8, ::5, ::5]

        def query_logits(class_ids: list[int], prior: Tensor) -> Tensor:
            text_map = head.query_text_map(recipe.text(class_ids))
            return head.decode(head.modulate(branches["query"], text_map) + squeezed_q, prior, query.size)

        found["query_inverted_prior"] = query_logits([3, 17], 1 - masks[:2])
        found["query_classes_5_2"] = query_logits([5, 2], masks[:2])
        found["query_shot1"], found["support_shot1"] = network(
            images[:2], images[2:4], query_prior=masks[:2], support_prior=masks[2:4], text=text
        )
        # The second shot goes the way of inference: exemplars kept, no support branch.
        kept = [network.encode_support(second[[row]], masks[[4 + row]], text[[row]]) for row in range(2)]
        found["query_shot2"] = torch.cat(
            [network.segment(query[[row]], masks[None, [row]], [kept[row]], text[[row]])[0] for row in range(2)]
        )
    return {name: one[:, :, ::16, ::16] if one.shape[-1] == recipe.SIZE else one for name, one in found.items()}


with np.load(EXPECTED) as content:
    NAMES = [name for name in content.files if name != "class_id"]


@pytest.mark.parametrize("name", NAMES)
def test_agrees_with_the_published_network(computed: Computed, name: str) -> None:
    with np.load(EXPECTED) as content:
        expected = content[name]
    assert computed(THREADS[0])[name].shape == expected.shape
    differences = (np.abs(computed(threads)[name].numpy() - expected).max() for threads in THREADS)
    assert any(difference <= TOLERANCE * expected.std() for difference in differences)


def test_vgg16_takes_every_published_entry_and_runs() -> None:
    network = from_published(recipe.published_state_dict("vgg16"), backbone="vgg16")
    images = torch.stack([recipe.image(0), recipe.image(1)])
    masks = torch.stack([recipe.pseudo_mask(0), recipe.pseudo_mask(1)])
    with torch.inference_mode():
        maps = network.backbone(images[:1])
        query_logits, support_logits = network(images[:1], images[1:], masks[:1], masks[1:], recipe.text([3]))
    assert [one.shape[-1] for one in maps] == [50, 50, 50, 25, 25, 25, 12]
    assert query_logits.shape == support_logits.shape == (1, 2, 400, 400)
    assert query_logits.isfinite().all()
    assert query_logits.std() > 0


def test_several_shots_are_voted_on(network: TLG) -> None:
    from tlg.network.released.head import vote

    masks = torch.tensor([[1, 1, 0, 0], [1, 0, 0, 0], [1, 0, 1, 0], [1, 1, 0, 0]])
    logits = torch.stack([1 - masks, masks], dim=1)[:, :, None].float()
    assert vote(logits).argmax(dim=1).flatten().tolist() == [1, 1, 0, 0]
    # Where no shot has more than half of them, the image's highest vote counts as all.
    assert vote(logits[1:3, :, :, 1:]).argmax(dim=1).flatten().tolist() == [0, 1, 0]


def test_other_sizes_are_refused_by_name(network: TLG) -> None:
    small = network.encode(torch.zeros(1, 3, 64, 64))
    with pytest.raises(InputError, match=r"64x64.*400x400"):
        network.encode_support(small, None, None)


def without(key: str) -> Callable[[dict], dict]:
    return lambda state: {name: value for name, value in state.items() if name != f"module.{key}"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (without("proj.weight"), r"1 of \d+ entries are missing \(such as proj.weight\)"),
        (without("backbone.conv1.weight"), "conv1.weight"),
        (lambda state: state | {"module.extra.weight": torch.zeros(1)}, r"1 are unknown \(such as extra.weight\)"),
        (lambda state: state | {"module.proj.weight": torch.zeros(2, 2)}, r"proj.weight has shape \(2, 2\)"),
        (lambda state: {"layer.weight": torch.zeros(1)}, "not a published checkpoint"),
    ],
)
def test_foreign_state_dicts_are_refused_by_name(change: Callable[[dict], dict], message: str) -> None:
    state = {f"module.{name}": torch.zeros(shape) for name, shape in recipe.published_shapes("resnet50").items()}
    with pytest.raises(CheckpointError, match=message):
        from_published(change(state), backbone="resnet50")
