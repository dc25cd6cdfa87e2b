"""An open_clip model out of its config and its weights: nothing is looked up in a registry, nothing is fetched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

import open_clip
from torch import Tensor, nn

from tlg.errors import CheckpointError, SpecError
from tlg.evidence.open_clip.clip import ClipPrior, check_prompt
from tlg.evidence.open_clip.clip_spec import ClipPriorSpec
from tlg.evidence.open_clip.image_prior import TextSide
from tlg.evidence.text_encoder import clip_text_dim

# What a file of another training loop puts before every key.
WRAPPER = "module."
# Towers of other libraries: their files are fetched by their own rules, which a model folder cannot hold.
OF_OTHER_LIBRARIES = {
    "text_cfg": ("hf_model_name", "hf_tokenizer_name"),
    "vision_cfg": ("timm_model_name",),
}


def architecture_of(name: str) -> dict[str, Any]:
    """open_clip's config of a model that needs nothing but its own weights."""
    clip_text_dim(name)  # an unknown name ends here, with the nearest ones
    config: dict[str, Any] = open_clip.get_model_config(name)
    foreign = [key for tower, keys in OF_OTHER_LIBRARIES.items() for key in keys if key in config.get(tower, {})]
    if foreign or "multimodal_cfg" in config or "siglip" in name.lower():
        raise SpecError(
            f"{name} is built of other libraries' parts ({', '.join(foreign) or 'its tokenizer'}), which a model folder"
            " cannot hold; choose a CLIP of open_clip's own, such as ViT-B-16 or RN50"
        )
    return config


def built_text_side(
    config: Mapping[str, Any],
    state: Mapping[str, Tensor],
    spec: ClipPriorSpec,
    mean: Sequence[float],
    std: Sequence[float],
    source: str,
) -> TextSide:
    """The model on the CPU, ready for priors; `source` is named where the weights are another model's."""
    settings = deepcopy(dict(config))
    kind = open_clip.CustomTextCLIP if settings.pop("custom_text", False) else open_clip.CLIP
    model = kind(**settings).eval().requires_grad_(False)
    plain = {key.removeprefix(WRAPPER): value for key, value in state.items()}
    try:
        model.load_state_dict(plain)
    except RuntimeError as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"CLIP weights {source} are not those of {spec.architecture} ({reason}); name their own model"
        ) from error
    text = config["text_cfg"]
    tokenize = open_clip.SimpleTokenizer(context_length=model.context_length, **text.get("tokenizer_kwargs", {}))
    return text_side(model, tokenize, spec, mean, std)


def text_side(
    model: nn.Module, tokenize: Any, spec: ClipPriorSpec, mean: Sequence[float], std: Sequence[float]
) -> TextSide:
    """Background prompts that the tokenizer would cut are an error."""
    length: int = model.context_length  # type: ignore[assignment]
    for prompt in spec.background:
        check_prompt(spec.template.format(prompt), tokenize, length, f"background prompt '{prompt}'")
    size: Any = model.get_submodule("visual").image_size
    return TextSide(
        ClipPrior.of(model, spec),
        model,
        tokenize,
        length,
        size if isinstance(size, int) else size[0],
        tuple(mean),
        tuple(std),
    )
