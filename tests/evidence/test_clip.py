"""Laws of the text prior, on small random open_clip models of both tower kinds."""

import open_clip
import pytest
import torch
import torch.nn.functional as F

from tlg.errors import SpecError
from tlg.evidence.open_clip.clip import ClipPrior, ClipPriorSpec, activation_maps, active_box, affinity, check_prompt
from tlg.evidence.open_clip.clip_tower import split_tower

TEXT = {"context_length": 16, "vocab_size": 64, "width": 16, "heads": 2, "layers": 1}
VIT = {"image_size": 32, "layers": 3, "width": 24, "head_width": 12, "patch_size": 8}
RESNET = {"image_size": 64, "layers": [1, 1, 1, 1], "width": 8, "head_width": 64}
TOWERS = {"vit": VIT, "vit-avg": {**VIT, "pool_type": "avg"}, "resnet": RESNET}
NAMES = ("fox", "hare", "owl")


def small_clip(tower: str) -> open_clip.CLIP:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(embed_dim=16, vision_cfg=TOWERS[tower], text_cfg=TEXT)
        for name, one in model.named_parameters():
            if name.endswith("bn3.weight"):  # zero at the start: the residual branches would be silent
                torch.nn.init.uniform_(one, 0.5, 1.0)
    return model.eval().requires_grad_(False)


def encode_text(prompts):
    """Any vectors will do, as long as a prompt always has the same."""
    return torch.stack(
        [torch.randn(16, generator=torch.Generator().manual_seed(sum(prompt.encode()))) for prompt in prompts]
    )


def images(count: int = 2, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, height, width, generator=torch.Generator().manual_seed(1))


def prior(tower: str, **spec) -> ClipPrior:
    return ClipPrior.of(small_clip(tower), ClipPriorSpec(affinity_blocks=1, **spec))


FAMILIES = [
    {"family": "activation"},
    {"family": "dense", "dense_attention": "maskclip"},
    {"family": "dense", "dense_attention": "sclip"},
    {"family": "dense", "dense_attention": "naclip"},
    {"family": "dense", "dense_attention": "clearclip"},
    {"family": "activation", "scales": (1.0, 1.5), "mirrored": True},
]


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("spec", FAMILIES, ids=lambda spec: "-".join(map(str, spec.values())))
def test_maps_have_the_images_size_and_a_batch_equals_single(tower, spec):
    text_prior = prior(tower, **spec)
    texts = text_prior.texts(NAMES, encode_text)
    pictures = images(2, 64, 70)  # not a whole number of patches
    together = text_prior.maps(pictures, texts)
    assert together.shape == (2, 3, 64, 70)
    assert float(together.min()) >= 0
    assert float(together.max()) <= 1 + 1e-6
    assert not together.requires_grad
    alone = torch.cat([text_prior.maps(pictures[[row]], texts) for row in range(2)])
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("tower", TOWERS)
def test_the_taken_apart_tower_gives_open_clips_image_vector(tower):
    model = small_clip(tower)
    apart = split_tower(model.visual)
    pictures = images(2, model.visual.image_size[0] if tower != "resnet" else 64, 32 if tower != "resnet" else 64)
    trunk = apart.trunk(pictures, 0)
    torch.testing.assert_close(apart.pooled(trunk, apart.project_qkv(trunk, None)), model.encode_image(pictures))


@pytest.mark.parametrize("tower", TOWERS)
def test_activation_equals_plain_autograd(tower):
    """The shared shift gives the same maps as a gradient for every patch, one class at a time."""
    model = small_clip(tower)
    apart = split_tower(model.visual)
    text_prior = ClipPrior.of(model, ClipPriorSpec(affinity_blocks=1))
    texts = text_prior.texts(NAMES, encode_text)
    trunk = apart.trunk(images(), 0)
    read = plain_activation_input(model, trunk, tower).requires_grad_()
    image = F.normalize(plain_rest(model, trunk, read, tower), dim=-1)
    words = torch.cat([texts.classes, texts.background])
    probability = torch.softmax(text_prior.logit_scale * image @ words.T, dim=1)
    expected = []
    for index in range(len(NAMES)):
        (gradient,) = torch.autograd.grad(probability[:, index].sum(), read, retain_graph=True)
        expected.append((read * gradient.mean(1, keepdim=True)).sum(2).relu())
    actual = activation_maps(apart, trunk, texts, text_prior.logit_scale)
    scale = torch.stack(expected, 1).max()
    torch.testing.assert_close(actual / scale, torch.stack(expected, 1).detach() / scale, atol=1e-5, rtol=1e-4)


def plain_activation_input(model, trunk, tower):
    if tower == "resnet":
        return trunk.tokens[:, 1:].clone()
    return model.visual.transformer.resblocks[-1].ln_1(trunk.tokens)[:, 1:].clone()


def plain_rest(model, trunk, read, tower):
    """open_clip's own modules from the activations on."""
    if tower == "resnet":
        side = model.visual.attnpool
        return side(read.transpose(1, 2).unflatten(2, trunk.grid)) if trunk.grid == (2, 2) else None
    block = model.visual.transformer.resblocks[-1]
    normed = torch.cat([block.ln_1(trunk.tokens)[:, :1], read], 1)
    x = trunk.tokens + block.attn(normed, normed, normed, need_weights=False)[0]
    x = x + block.mlp(block.ln_2(x))
    return model.visual._pool(x)[0] @ model.visual.proj


@pytest.mark.parametrize("tower", TOWERS)
@pytest.mark.parametrize("blocks", [0, 2])
def test_affinity_rows_sum_to_one(tower, blocks):
    apart = split_tower(small_clip(tower).visual)
    rows = affinity(apart, apart.trunk(images(), blocks))
    torch.testing.assert_close(rows.sum(2), torch.ones(rows.shape[:2]))
    assert float(rows.min()) >= 0


def test_gradients_stop_at_the_last_block():
    model = small_clip("vit").requires_grad_(True)
    text_prior = ClipPrior.of(model, ClipPriorSpec(affinity_blocks=1))
    pictures = images().requires_grad_()
    text_prior.maps(pictures, text_prior.texts(NAMES, encode_text))
    assert pictures.grad is None
    assert all(one.grad is None for one in model.parameters())


def test_classes_share_one_encoder_pass():
    model = small_clip("vit")
    passes = []
    model.visual.conv1.register_forward_hook(lambda *_: passes.append(1))
    for family in ("activation", "dense"):
        text_prior = ClipPrior.of(model, ClipPriorSpec(family=family))
        text_prior.maps(images(), text_prior.texts(NAMES, encode_text))
    assert len(passes) == 2


def test_presence_evidence_does_not_depend_on_the_other_classes():
    text_prior = prior("vit")
    every = text_prior.presence_evidence(images(), text_prior.texts(NAMES, encode_text))
    one = text_prior.presence_evidence(images(), text_prior.texts(NAMES[1:2], encode_text))
    torch.testing.assert_close(every[:, 1:2], one)


def test_box_is_the_smallest_around_the_active_places():
    active = torch.zeros(1, 1, 4, 5, dtype=torch.bool)
    active[0, 0, 1, 1] = active[0, 0, 2, 3] = True
    expected = torch.zeros(4, 5)
    expected[1:3, 1:4] = 1
    assert torch.equal(active_box(active)[0, 0], expected)


def test_a_tower_of_another_kind_is_an_error():
    with pytest.raises(SpecError, match="cannot take apart"):
        split_tower(torch.nn.Linear(2, 2))


def test_a_prompt_beyond_the_context_is_an_error_that_names_class_and_file():
    tokenize = open_clip.SimpleTokenizer()
    check_prompt("a red fox", tokenize, 77, "set.yaml, class 'red fox'")
    with pytest.raises(SpecError, match=r"set\.yaml, class 'fox'.*203 tokens long, CLIP reads at most 77"):
        check_prompt("fox " * 201, tokenize, 77, "set.yaml, class 'fox'")
