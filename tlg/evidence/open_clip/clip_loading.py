"""An open_clip model from its name and weights, made ready for the text prior."""

from __future__ import annotations

import pickle
from pathlib import Path

import open_clip
import torch

from tlg.errors import CheckpointError
from tlg.evidence.open_clip.building import text_side
from tlg.evidence.open_clip.clip import CLIP_MEAN, CLIP_STD
from tlg.evidence.open_clip.clip_spec import ClipPriorSpec
from tlg.evidence.open_clip.image_prior import TextSide
from tlg.evidence.text_encoder import clip_text_dim, load_clip

# What open_clip, besides its own RuntimeError, lets through when a file is another model's or no checkpoint at all.
UNFIT_FILE = (AssertionError, LookupError, AttributeError, TypeError, EOFError, pickle.UnpicklingError)
WAY_OUT = "give the path of its weights with --clip-weights, or as `weights` in the CLIP config"


def load_text_side(spec: ClipPriorSpec, device: torch.device | str = "cpu") -> TextSide:
    """The spec's model with its tokenizer; background prompts that the tokenizer would cut are an error."""
    clip_text_dim(spec.architecture)  # an unknown name ends here, with the nearest ones
    check_weights(spec)
    try:
        model, tokenize = load_clip(spec.architecture, spec.weights or "", str(device))
    except CheckpointError as error:
        raise CheckpointError(unusable(spec, str(error.__cause__))) from error.__cause__
    except UNFIT_FILE as error:
        raise CheckpointError(unusable(spec, f"{type(error).__name__}: {error}")) from error
    model.requires_grad_(False)
    preprocess = open_clip.get_model_preprocess_cfg(model)
    return text_side(model, tokenize, spec, preprocess.get("mean", CLIP_MEAN), preprocess.get("std", CLIP_STD))


def check_weights(spec: ClipPriorSpec) -> None:
    """A file that is not there would be taken for a tag, and the error would speak of downloads."""
    tags = open_clip.list_pretrained_tags_by_model(spec.architecture)
    if spec.weights is None or spec.weights in tags or Path(spec.weights).is_file():
        return
    raise CheckpointError(
        f"CLIP weights {spec.weights!r}: there is no such file (looked in {Path(spec.weights).absolute().parent}), and"
        f" {spec.architecture} has no pretrained tag of that name, only {', '.join(tags) or 'none'}; {WAY_OUT}"
    )


def unusable(spec: ClipPriorSpec, cause: str) -> str:
    reason = " ".join(cause.split())[:200]
    if spec.weights is not None and Path(spec.weights).is_file():
        return f"CLIP weights {spec.weights} are not those of {spec.architecture} ({reason}); name their own model"
    return (
        f"CLIP weights {spec.weights!r} of {spec.architecture} are neither in {download_folder(spec)} nor could they be"
        f" downloaded ({reason}); {WAY_OUT}"
    )


def download_folder(spec: ClipPriorSpec) -> str:
    """Where open_clip keeps the weights of a tag."""
    from huggingface_hub.constants import HF_HUB_CACHE

    known = open_clip.get_pretrained_cfg(spec.architecture, spec.weights or "")
    return HF_HUB_CACHE if known.get("hf_hub") else str(Path.home() / ".cache" / "clip")
