"""What a model makes of the class names of an exemplar set."""

from __future__ import annotations

import torch

from tlg.evidence.names.evidence import NameEvidence
from tlg.evidence.names.registry import Asked, name_evidence
from tlg.evidence.text_encoder import ClassText
from tlg.exemplars import LoadedExemplars
from tlg.hub.folder import Model
from tlg.network.text import TextVectors


def text_of(model: Model, exemplars: LoadedExemplars, device: torch.device) -> TextVectors | None:
    """The names as vectors, where the network or the model's own CLIP reads them."""
    reads_text = model.network is not None and model.network.spec.text
    encoder = model.text_encoder(str(device)) if model.clip is not None or reads_text else None
    texts = [
        ClassText(shown_class.name, shown_class.attributes, shown_class.context) for shown_class in exemplars.classes
    ]
    return None if encoder is None else encoder.encode(texts).to(device)


def names_of(model: Model, exemplars: LoadedExemplars, text: TextVectors | None) -> NameEvidence | None:
    """Who says where pictures show the names; None where nobody does."""
    names, side = exemplars.class_names, model.input_size
    asked = Asked(names, model.backbone, side, model.clip, text, model.kinds, model.open_clip)
    return name_evidence(model.names, asked)
