"""Laws of the repaired network, on tiny tensors."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from tlg.network.backbones.registry import build_backbone
from tlg.network.spec import NetworkSpec
from tlg.network.text import TextVectors
from tlg.network.tlg import TLG, Support

SIZE = (64, 96)
TEXT_DIM = 32
# All its maps have one stride.
VIT = "timm/vit_tiny_patch16_224"


def network(backbone: str = "tiny", seed: int = 0, **choices: object) -> TLG:
    torch.manual_seed(seed)
    return TLG(NetworkSpec(backbone=backbone, text_dim=TEXT_DIM, width=32, **choices), build_backbone(backbone)).eval()


def episode(count: int, shots: int, size: tuple[int, int] = SIZE, seed: int = 1) -> tuple[Tensor, ...]:
    """Query and support images with their binary priors."""
    rng = torch.Generator().manual_seed(seed)
    query, support = torch.randn(count, 3, *size, generator=rng), torch.randn(count, shots, 3, *size, generator=rng)
    blocks = (torch.randn(count, 1 + shots, 4, 4, generator=rng) > 0).float()
    masks = F.interpolate(blocks, size=size)
    return query, support, masks[:, 0], masks[:, 1:]


def text(count: int, seed: int = 2) -> TextVectors:
    rng = torch.Generator().manual_seed(seed)
    return TextVectors(*(F.normalize(torch.randn(count, TEXT_DIM, generator=rng), dim=-1) for _ in range(3)))


def answer(net: TLG, count: int, shots: int, **kwargs: object) -> Tensor:
    query, support, query_prior, support_prior = episode(count, shots, **kwargs)
    with torch.inference_mode():
        return net(query, support, query_prior, support_prior, text(count))[0]


@pytest.mark.parametrize(
    ("shots", "choices"),
    [
        (1, {}),
        (3, {}),
        (1, {"aggregation": False}),
        (1, {"transport": False}),
        (1, {"deep": False}),
        (3, {"deep": False, "peers": True}),
        (1, {"deep": False, "transport": False}),
        (1, {"text": False}),
        (1, {"prior": False}),
        (1, {"aggregation": False, "transport": False, "text": False, "prior": False}),
        (3, {"backbone": VIT}),
    ],
)
def test_every_trainable_parameter_gets_a_gradient_and_the_backbone_stays(shots: int, choices: dict) -> None:
    net = network(**choices).train()
    frozen = {name: one.clone() for name, one in net.backbone.state_dict().items()}
    query, support, query_prior, support_prior = episode(2, shots)
    query_logits, support_logits = net(query, support, query_prior, support_prior, text(2))
    optimiser = torch.optim.AdamW([one for one in net.parameters() if one.requires_grad], lr=1e-2)
    loss = F.cross_entropy(query_logits, query_prior.long())
    loss = loss + F.cross_entropy(support_logits.flatten(0, 1), support_prior.long().flatten(0, 1))
    loss.backward()
    without = [name for name, one in net.named_parameters() if one.requires_grad and not one.grad.abs().sum() > 0]
    assert without == []
    before = {name: one.clone() for name, one in net.head.state_dict().items()}
    optimiser.step()
    assert all(torch.equal(one, frozen[name]) for name, one in net.backbone.state_dict().items())
    assert [name for name, one in net.head.state_dict().items() if torch.equal(one, before[name])] == []


def test_nothing_but_the_head_is_learnable_and_the_backbone_stays_in_eval_mode() -> None:
    net = network().train()
    assert not net.backbone.training
    assert not any(one.requires_grad for one in net.backbone.parameters())
    assert net.learnable_parameters() == sum(one.numel() for one in net.head.parameters())


def test_the_network_is_small_with_resnet50() -> None:
    assert TLG(NetworkSpec(backbone="resnet50"), build_backbone("resnet50")).learnable_parameters() <= 3_000_000


@pytest.mark.parametrize(("shots", "backbone"), [(1, "tiny"), (3, "tiny"), (1, VIT)])
def test_a_batch_answers_like_its_members(shots: int, backbone: str) -> None:
    net = network(backbone)
    query, support, query_prior, support_prior = episode(3, shots)
    vectors = text(3)
    with torch.inference_mode():
        together = net(query, support, query_prior, support_prior, vectors)
        for row in range(3):
            one = slice(row, row + 1)
            alone = net(query[one], support[one], query_prior[one], support_prior[one], vectors[one])
            for whole, part in zip(together, alone, strict=True):
                torch.testing.assert_close(whole[one], part, rtol=1e-4, atol=1e-5)


def kept(net: TLG, support: Tensor, prior: Tensor, vectors: TextVectors) -> list[Support]:
    return [net.encode_support(net.encode(support[row]), prior[row], vectors[[row]]) for row in range(len(support))]


def test_kept_exemplars_answer_like_the_training_forward() -> None:
    net = network()
    query, support, query_prior, support_prior = episode(2, shots=3)
    vectors = text(2)
    with torch.inference_mode():
        expected = net(query, support, query_prior, support_prior, vectors)[0]
        supports = pickle.loads(pickle.dumps(kept(net, support, support_prior, vectors)))
        priors = query_prior[:, None].expand(-1, 2, -1, -1)
        logits_BN2HW = net.segment(net.encode(query), priors, supports, vectors)
    for row in range(2):
        torch.testing.assert_close(logits_BN2HW[row, row], expected[row], rtol=1e-4, atol=1e-5)


def test_classes_with_unlike_numbers_of_shots_are_answered_in_order() -> None:
    net = network()
    query, support, query_prior, support_prior = episode(3, shots=2)
    vectors = text(3)
    features, priors = net.encode(query[:1]), query_prior[None]
    with torch.inference_mode():
        supports = kept(net, support, support_prior, vectors)
        supports[1] = net.encode_support(net.encode(support[1, :1]), support_prior[1, :1], vectors[[1]])
        together = net.segment(features, priors, supports, vectors)
        for column in range(3):
            one = [column]
            alone = net.segment(features, priors[:, one], [supports[column]], vectors[one])
            torch.testing.assert_close(together[:, one], alone, rtol=1e-4, atol=1e-5)


def test_the_order_of_shots_does_not_matter() -> None:
    net = network()
    query, support, query_prior, support_prior = episode(1, shots=4)
    order = [2, 0, 3, 1]
    with torch.inference_mode():
        query_logits, support_logits = net(query, support, query_prior, support_prior, text(1))
        again, support_again = net(query, support[:, order], query_prior, support_prior[:, order], text(1))
    assert torch.equal(again.argmax(dim=1), query_logits.argmax(dim=1))
    torch.testing.assert_close(again, query_logits, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(support_again, support_logits[:, order], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("backbone", ["tiny", VIT])
@pytest.mark.parametrize("size", [(400, 400), (480, 640), (33, 50)])
def test_any_size_works(size: tuple[int, int], backbone: str) -> None:
    logits = answer(network(backbone), 1, 1, size=size)
    assert logits.shape == (1, 2, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16", "mobilenet_v2", "timm/resnet18"])
def test_any_backbone_works(backbone: str) -> None:
    assert answer(network(backbone), 1, 1).shape == (1, 2, *SIZE)


@pytest.mark.parametrize("shots", [1, 5])
def test_bfloat16_stays_near_float32(shots: int) -> None:
    net = network()
    query, support, query_prior, support_prior = episode(2, shots)
    with torch.inference_mode():
        exact = net(query, support, query_prior, support_prior, text(2))[0]
        with torch.autocast("cpu", dtype=torch.bfloat16):
            mixed = net(query, support, query_prior, support_prior, text(2))[0]
        net = net.bfloat16()
        half = net(query.bfloat16(), support.bfloat16(), query_prior, support_prior, text(2))[0]
    assert (mixed.float() - exact).abs().max() <= 0.1 * exact.std()
    assert (half.float() - exact).abs().max() <= 0.1 * exact.std()


def test_an_untrained_network_answers_its_prior() -> None:
    query, support, query_prior, support_prior = episode(2, 1)
    with torch.inference_mode():
        logits = network()(query, support, query_prior, support_prior, text(2))[0]
    assert (logits.argmax(dim=1) == query_prior).float().mean() > 0.8


def test_the_query_answer_reads_the_query_and_the_exemplars() -> None:
    net = network()
    query, support, query_prior, support_prior = episode(2, 1)
    with torch.inference_mode():
        first = net(query[:1], support[:1], query_prior[:1], support_prior[:1], text(1))[0]
        other_query = net(query[1:], support[:1], query_prior[:1], support_prior[:1], text(1))[0]
        other_support = net(query[:1], support[1:], query_prior[:1], support_prior[1:], text(1))[0]
    assert not torch.allclose(first, other_query, atol=1e-3)
    assert not torch.allclose(first, other_support, atol=1e-4)


def test_text_is_optional_and_heterogeneous() -> None:
    net = network()
    query, support, query_prior, support_prior = episode(1, 1)
    inputs = query, support[:, 0], query_prior, support_prior[:, 0]
    vectors, others = text(1), text(1, seed=5)
    with torch.inference_mode():
        query_logits, support_logits = net(*inputs, vectors)
        refined = TextVectors(vectors.foreground, others.refined, vectors.background)
        background = TextVectors(vectors.foreground, vectors.refined, others.background)
        assert not torch.equal(net(*inputs, refined)[1], support_logits)
        assert torch.equal(net(*inputs, background)[1], support_logits)
        assert not torch.equal(net(*inputs, background)[0], query_logits)
        assert net(*inputs, None)[0].isfinite().all()


def test_without_peers_an_exemplar_is_described_as_if_it_were_alone() -> None:
    net = network(peers=False)
    query, support, query_prior, support_prior = episode(1, 3)
    with torch.inference_mode():
        together = net(query, support, query_prior, support_prior, text(1))[1]
        alone = net(query, support[:, :1], query_prior, support_prior[:, :1], text(1))[1]
    torch.testing.assert_close(together[:, :1].reshape(alone.shape), alone, rtol=1e-3, atol=1e-4)


def test_trust_in_the_prior_pulls_answers_towards_it_and_leaves_training_alone() -> None:
    plain, trusting = network(prior_trust=0), network(prior_trust=2.0)
    trusting.load_state_dict(plain.state_dict())
    query, support, query_prior, support_prior = episode(1, 1)

    def margin(net: TLG) -> torch.Tensor:
        torch.manual_seed(0)  # In training whole channels are dropped: the same ones.
        with torch.inference_mode():
            logits = net(query, support, query_prior, support_prior, text(1))[0]
        return logits[:, 1] - logits[:, 0]

    pulled = margin(trusting) - margin(plain)
    assert pulled[query_prior == 1].mean() > 0 > pulled[query_prior == 0].mean()
    torch.testing.assert_close(margin(trusting.train()), margin(plain.train()))
