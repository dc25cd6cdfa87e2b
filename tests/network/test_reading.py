"""Laws of the reading network: it learns, company does not change its answers, its evidence follows the exemplar."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tests.network.test_network_laws import SIZE, episode
from tlg.network.backbones.registry import build_backbone
from tlg.network.reading.cues import CUES, Places, level_cues
from tlg.network.reading.head import read_maps
from tlg.network.reading.memory import remember
from tlg.network.reading.scatter import Frame, Scatter
from tlg.network.spec import NetworkSpec
from tlg.network.tlg import TLG

VIT = "timm/vit_tiny_patch16_224"


def network(backbone: str = "tiny", seed: int = 0) -> TLG:
    torch.manual_seed(seed)
    spec = NetworkSpec(backbone=backbone, behaviour="reading", width=16, support_grid=6)
    return TLG(spec, build_backbone(backbone)).eval()


@pytest.mark.parametrize("shots", [1, 3])
@pytest.mark.parametrize("backbone", ["tiny", VIT])
def test_every_trainable_parameter_gets_a_gradient_and_moves(backbone: str, shots: int) -> None:
    net = network(backbone).train()
    query, support, query_prior, support_prior = episode(2, shots)
    optimiser = torch.optim.AdamW([one for one in net.parameters() if one.requires_grad], lr=1e-2)
    before = {name: one.clone() for name, one in net.head.state_dict().items()}
    answer = net.episode(net.encode(query), net.encode(support.flatten(0, 1)), None, support_prior)
    loss = F.cross_entropy(answer.query, query_prior.long())
    loss = loss + F.cross_entropy(answer.support.flatten(0, 1), support_prior.long().flatten(0, 1))
    loss.backward()
    assert [name for name, one in net.head.named_parameters() if not one.grad.abs().sum() > 0] == []
    optimiser.step()
    assert [name for name, one in net.head.state_dict().items() if torch.equal(one, before[name])] == []


def answer(net: TLG, query: Tensor, support: Tensor, prior: Tensor) -> Tensor:
    with torch.inference_mode():
        return net(query, support, None, prior)[0]


def test_a_batch_answers_like_its_members() -> None:
    net = network()
    query, support, _, prior = episode(3, 2)
    together = answer(net, query, support, prior)
    for row in range(3):
        one = slice(row, row + 1)
        torch.testing.assert_close(
            together[one], answer(net, query[one], support[one], prior[one]), rtol=1e-3, atol=1e-3
        )


def test_the_order_of_shots_does_not_matter() -> None:
    net = network()
    query, support, _, prior = episode(2, 3)
    turned = torch.tensor([2, 0, 1])
    torch.testing.assert_close(
        answer(net, query, support, prior),
        answer(net, query, support[:, turned], prior[:, turned]),
        rtol=1e-3,
        atol=1e-3,
    )


@pytest.mark.parametrize("shots", [(1, 1), (3, 1)])
def test_kept_exemplars_answer_like_the_forward_pass(shots: tuple[int, int]) -> None:
    net = network()
    query, _, _, _ = episode(2, 1)
    kept, expected = [], []
    for index, count in enumerate(shots):
        _, support, _, prior = episode(1, count, seed=7 + index)
        with torch.inference_mode():
            kept.append(pickle.loads(pickle.dumps(net.encode_support(net.encode(support[0]), prior[0], None))))
        expected.append(answer(net, query, support.expand(2, -1, -1, -1, -1), prior.expand(2, -1, -1, -1)))
    with torch.inference_mode():
        logits_BN2HW = net.segment(net.encode(query), None, kept, None)
    assert logits_BN2HW.shape == (2, 2, 2, *SIZE)
    torch.testing.assert_close(logits_BN2HW, torch.stack(expected, 1), rtol=1e-3, atol=1e-3)


def test_exemplars_that_nobody_drew_get_a_glance_more_also_beside_drawn_ones() -> None:
    net = network()
    query, support, _, prior = episode(2, 1)
    with torch.inference_mode():
        seen, shots = net.encode(query), net.encode(support[0])
        drawn, guessed = (net.encode_support(shots, prior[0], None, are_drawn=kind) for kind in (True, False))
        together = net.segment(seen, None, [guessed, drawn, guessed], None)
        alone = [net.segment(seen, None, [memory], None)[:, 0] for memory in (guessed, drawn)]
    torch.testing.assert_close(together[:, 0], alone[0], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(together[:, 1], alone[1], rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(together[:, 2], alone[0], rtol=1e-3, atol=1e-3)
    assert (alone[0] - alone[1]).abs().max() > 1e-2


@pytest.mark.parametrize("size", [(400, 400), (480, 640), (33, 50)])
def test_any_size_is_answered_at_its_own_size(size: tuple[int, int]) -> None:
    query, support, _, prior = episode(1, 1, size)
    assert answer(network(), query, support, prior).shape == (1, 2, *size)


def test_the_widened_map_of_a_classifier_is_left_out() -> None:
    backbone = build_backbone("timm/tf_efficientnet_lite2")
    read = [(backbone.channels[index], backbone.strides[index]) for index in read_maps(backbone)]
    assert read == [(48, 8), (88, 16), (120, 16), (208, 32), (352, 32)]


def two_surfaces(generator: torch.Generator, first: Tensor, second: Tensor) -> Tensor:
    """A map (1, C, 8, 8): left half of one surface, right half of another, each with its own noise."""
    level = torch.where(torch.arange(8) < 4, first[None, :, None, None], second[None, :, None, None]).expand(
        1, -1, 8, 8
    )
    return level + 0.3 * torch.randn(level.shape, generator=generator)


@pytest.mark.parametrize("shown", ["left", "right"])
def test_of_two_surfaces_the_one_that_was_shown_is_told_apart(shown: str) -> None:
    generator = torch.Generator().manual_seed(0)
    first, second = torch.randn(2, 12, generator=generator)
    mask = (torch.arange(8) < 4).float().expand(1, 1, 8, 8)
    inside = mask if shown == "left" else 1 - mask
    memory = remember(two_surfaces(generator, first, second), inside, 1 - inside, side=4)
    query = two_surfaces(generator, first, second)
    cues = level_cues(Places.of(query), Frame.between(Scatter.of(query), memory.scatter), memory.cells)
    assert cues.shape == (1, CUES, 8, 8)
    margin, prototype, discriminant = cues[0, 2], cues[0, 3], cues[0, 4]
    for cue in (margin, prototype, discriminant):
        assert torch.equal(cue > 0, inside[0, 0] > 0)
