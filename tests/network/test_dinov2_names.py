"""DINOv2 from its publisher's hub: the same numbers under other names give the same features."""

import pytest
import torch
from safetensors.torch import save_file

from tlg.errors import CheckpointError
from tlg.hub.backbones import load_backbone
from tlg.network.backbones.registry import build_backbone

NAME = "timm/vit_small_patch14_dinov2"
WIDTH = 384


def published(depth=12):
    """Random numbers in the form of `facebook/dinov2-small`'s `model.safetensors`."""
    made = torch.Generator().manual_seed(0)

    def numbers(*shape):
        return torch.randn(*shape, generator=made) * 0.05

    state = {
        "embeddings.cls_token": numbers(1, 1, WIDTH),
        "embeddings.mask_token": numbers(1, WIDTH),
        "embeddings.position_embeddings": numbers(1, 1 + 37 * 37, WIDTH),
        "embeddings.patch_embeddings.projection.weight": numbers(WIDTH, 3, 14, 14),
        "embeddings.patch_embeddings.projection.bias": numbers(WIDTH),
        "layernorm.weight": 1 + numbers(WIDTH),
        "layernorm.bias": numbers(WIDTH),
    }
    shapes = {"attention.attention.query": (WIDTH, WIDTH), "attention.attention.key": (WIDTH, WIDTH)}
    shapes |= {"attention.attention.value": (WIDTH, WIDTH), "attention.output.dense": (WIDTH, WIDTH)}
    shapes |= {"mlp.fc1": (4 * WIDTH, WIDTH), "mlp.fc2": (WIDTH, 4 * WIDTH)}
    for layer in range(depth):
        prefix = f"encoder.layer.{layer}."
        for part, shape in shapes.items():
            state |= {f"{prefix}{part}.weight": numbers(*shape), f"{prefix}{part}.bias": numbers(shape[0])}
        for number in "12":
            state |= {f"{prefix}norm{number}.weight": 1 + numbers(WIDTH), f"{prefix}norm{number}.bias": numbers(WIDTH)}
            state |= {f"{prefix}layer_scale{number}.lambda1": numbers(WIDTH)}
    return state


@pytest.fixture(scope="module")
def state():
    return published()


def in_timm_form(state):
    """What timm's own file of the same model would hold, written out by hand."""
    mine = {
        "cls_token": state["embeddings.cls_token"],
        "pos_embed": state["embeddings.position_embeddings"],
        "patch_embed.proj.weight": state["embeddings.patch_embeddings.projection.weight"],
        "patch_embed.proj.bias": state["embeddings.patch_embeddings.projection.bias"],
        "norm.weight": state["layernorm.weight"],
        "norm.bias": state["layernorm.bias"],
    }
    for layer in range(12):
        theirs, block = f"encoder.layer.{layer}.", f"blocks.{layer}."
        for kind in ("weight", "bias"):
            parts = [state[f"{theirs}attention.attention.{part}.{kind}"] for part in ("query", "key", "value")]
            mine[f"{block}attn.qkv.{kind}"] = torch.cat(parts)
            mine[f"{block}attn.proj.{kind}"] = state[f"{theirs}attention.output.dense.{kind}"]
            for same in ("norm1", "norm2", "mlp.fc1", "mlp.fc2"):
                mine[f"{block}{same}.{kind}"] = state[f"{theirs}{same}.{kind}"]
        for number in "12":
            mine[f"{block}ls{number}.gamma"] = state[f"{theirs}layer_scale{number}.lambda1"]
    return mine


@pytest.mark.parametrize("wrapper", ["", "dinov2."])
def test_features_equal_those_of_timms_model_with_the_same_numbers(tmp_path, state, wrapper):
    place = tmp_path / "model.safetensors"
    save_file({wrapper + name: value for name, value in state.items()}, place)
    loaded, same = load_backbone(NAME, str(place)), build_backbone(NAME)
    same.trunk.load_state_dict(in_timm_form(state))
    images = torch.randn(1, 3, 56, 70, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        ours, theirs = loaded.encode(images), same.encode(images)
    assert torch.equal(ours.token, theirs.token)
    for one, other in zip(ours.maps, theirs.maps, strict=True):
        assert torch.equal(one, other)


def test_a_file_of_another_size_or_with_other_entries_is_refused_by_name(state):
    backbone = build_backbone(NAME)
    with pytest.raises(CheckpointError, match=r"foreign is not a .* state dict: 1 of .* missing .*blocks.3.ls1.gamma"):
        backbone.load_weights(
            {name: value for name, value in state.items() if name != "encoder.layer.3.layer_scale1.lambda1"}, "foreign"
        )
    with pytest.raises(CheckpointError, match=r"1 are unknown .*embeddings.register_tokens"):
        backbone.load_weights(state | {"embeddings.register_tokens": torch.zeros(1, 4, WIDTH)}, "foreign")
