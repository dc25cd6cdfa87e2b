"""A model folder: `model.json`, safetensors beside it, and the digests that bind them.

The digest of every file is verified before it is used. The backbone lies in the folder, or its publisher's weights are
named in `model.json` and proven by what the backbone makes of a fixed picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from safetensors.torch import save as save_safetensors
from torch import Tensor

from tlg import store
from tlg.errors import CheckpointError
from tlg.evidence.background import Background
from tlg.evidence.names.registry import OPEN_CLIP
from tlg.evidence.names.taught import TaughtKinds, width_of
from tlg.evidence.text_encoder import TextEncoder, build_text_encoder
from tlg.hub.backbones import load_recorded, record_of
from tlg.hub.digests import sha256, verified_bytes
from tlg.hub.model_file import (
    MODEL_FILE,
    Card,
    ClipSpec,
    ModelFile,
    checked,
    digest_of_content,
    read_content,
)
from tlg.hub.probe import check_probe
from tlg.hub.published import from_published
from tlg.hub.weights import read_state_dict
from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import build_backbone
from tlg.network.text_spec import TextSpec
from tlg.network.tlg import TLG

if TYPE_CHECKING:
    from tlg.evidence.open_clip.image_prior import TextSide
    from tlg.evidence.tiny_clip import TinyClip

BACKBONE_FILE = "backbone.safetensors"
HEAD_FILE = "network.safetensors"
PRIOR_FILE = "prior.safetensors"
CLIP_FILE = "clip.safetensors"
KINDS_FILE = "kinds.safetensors"
TEXT_FILE = "text.npz"


@dataclass(frozen=True)
class Model:
    """A model ready for use. Without a network it answers with its prior alone."""

    name: str
    digest: str
    backbone: Backbone
    network: TLG | None = None
    text: TextSpec | None = None
    input_size: tuple[int, int] = (400, 400)
    background: Background | None = None  # what the exemplar prior knows of ordinary pictures
    clip: TinyClip | None = None
    names: str | None = None  # the source that says what names mean; None leaves the choice to the registry
    kinds: TaughtKinds | None = None  # what was taught by name, with masks
    open_clip: TextSide | None = None  # what `names: open_clip` means

    def text_encoder(self, device: str = "cpu") -> TextEncoder | None:
        """The encoder of class names, or None where the network reads no text. Nothing is loaded before this."""
        if self.clip is not None:
            return self.clip
        return None if self.text is None else build_text_encoder(self.text, device)

    def to(self, device: torch.device | str) -> Model:
        """Moves the weights and gives the model itself."""
        self.backbone.to(device)
        if self.network is not None:
            self.network.to(device)
        if self.clip is not None:
            self.clip.to(device)
        if self.kinds is not None:
            self.kinds.to(device)
        if self.open_clip is not None:
            self.open_clip.model.to(device)
        return self


def save_model(
    folder: str | Path,
    name: str,
    backbone: Backbone,
    network: TLG | None = None,
    *,
    text: TextSpec | None = None,
    input_size: tuple[int, int] = (400, 400),
    background: Background | None = None,
    clip: TinyClip | None = None,
    kinds: TaughtKinds | None = None,
    card: Card | None = None,
    backbone_weights: str | None = None,
) -> ModelFile:
    """Writes the folder and gives what `model.json` says; `model.json` comes last, so a folder is whole or foreign.

    `backbone_weights` names where the backbone's weights came from and leaves them out of the folder.
    """
    contents = {} if backbone_weights is not None else {BACKBONE_FILE: tensors(backbone)}
    if network is not None:
        contents[HEAD_FILE] = tensors(network.head)
    if background is not None:
        contents[PRIOR_FILE] = background.tensors()
    if clip is not None:
        contents[CLIP_FILE] = {key: half(value) for key, value in tensors(clip.clip).items()}
    if kinds is not None:
        contents[KINDS_FILE] = tensors(kinds)
    files = {}
    for file, state in contents.items():
        data = save_safetensors(state)
        files[file] = sha256(data)
        store.write(store.join(str(folder), file), data)
    if text is not None and text.table is not None:
        # The folder says everything: a table that lay elsewhere could change, and would not travel.
        data = store.read(text.table)
        files[TEXT_FILE] = sha256(data)
        store.write(store.join(str(folder), TEXT_FILE), data)
        text = text.model_copy(update={"table": TEXT_FILE})
    written = ModelFile(
        name=name,
        backbone=backbone.name,
        backbone_taps=backbone.taps,
        network=None if network is None else network.spec,
        text=text,
        clip=None if clip is None else ClipSpec(config=clip.config, words=clip.tokenizer.words),
        kinds=None if kinds is None else kinds.kinds,
        input_size=input_size,
        backbone_weights=backbone_weights,
        backbone_record=None if backbone_weights is None else record_of(backbone, backbone_weights),
        card=card,
        files=files,
    )
    store.write(store.join(str(folder), MODEL_FILE), (written.model_dump_json(indent=2) + "\n").encode())
    return written


def tensors(module: torch.nn.Module) -> dict[str, Tensor]:
    return {key: value.detach().cpu().contiguous() for key, value in module.state_dict().items()}


def half(value: Tensor) -> Tensor:
    """A CLIP in half precision answers as well and takes half the room."""
    return value.half() if value.is_floating_point() else value


def load_model(folder: str | Path, device: torch.device | str | None = None) -> Model:
    """The model of a folder or URI; every file's digest is verified first."""
    content = read_content(folder)
    written = checked(content, str(folder))
    # These two are read in their own ways.
    others = {TEXT_FILE, *(() if written.open_clip is None else (written.open_clip.file,))}
    states = {file: verified(folder, file, digest) for file, digest in written.files.items() if file not in others}
    if written.network is not None and HEAD_FILE not in states:
        raise CheckpointError(f"{folder} describes a network, but lists no {HEAD_FILE}; save the model anew")
    backbone = folder_backbone(folder, written, states)
    network = None
    if written.network is not None:
        network = TLG(written.network, backbone)
        fill(network.head, states[HEAD_FILE], f"{folder}/{HEAD_FILE}")
        network.eval()
    background = Background.from_tensors(states[PRIOR_FILE]) if PRIOR_FILE in states else None
    clip = None
    if written.clip is not None:
        if CLIP_FILE not in states:
            raise CheckpointError(f"{folder} describes a CLIP, but lists no {CLIP_FILE}; save the model anew")
        from tlg.evidence.tiny_clip import build_tiny_clip

        clip = build_tiny_clip(written.clip.config, written.clip.words, states[CLIP_FILE])
    model = Model(
        written.name,
        digest_of_content(content),
        backbone,
        network,
        text_in(folder, written),
        written.input_size,
        background,
        clip,
        written.names,
        None if written.kinds is None else loaded_kinds(folder, backbone, written.kinds, states),
        folder_open_clip(folder, written),
    )
    return model if device is None else model.to(device)


def folder_open_clip(folder: str | Path, written: ModelFile) -> TextSide | None:
    if written.open_clip is None:
        if written.names == OPEN_CLIP:
            raise CheckpointError(
                f"{folder}/{MODEL_FILE} leaves names to `{OPEN_CLIP}` and describes none;"
                " make the folder with `tlg models add-clip`"
            )
        return None
    from tlg.hub.open_clip import loaded_open_clip  # open_clip takes a second to import

    return loaded_open_clip(folder, written.open_clip, written.files | written.carried)


def loaded_kinds(
    folder: str | Path, backbone: Backbone, kinds: Sequence[str], states: dict[str, dict[str, Tensor]]
) -> TaughtKinds:
    if KINDS_FILE not in states:
        raise CheckpointError(f"{folder} describes taught kinds, but lists no {KINDS_FILE}; save the model anew")
    taught = TaughtKinds(backbone, kinds, width_of(states[KINDS_FILE]))
    fill(taught, states[KINDS_FILE], f"{folder}/{KINDS_FILE}")
    return taught.eval()


def folder_backbone(folder: str | Path, written: ModelFile, states: dict[str, dict[str, Tensor]]) -> Backbone:
    """The backbone that lies in the folder, or that the folder names."""
    weights, record = written.backbone_weights, written.backbone_record
    if weights is not None and BACKBONE_FILE not in written.carried:
        return load_recorded(written.backbone, weights, record, written.backbone_taps)
    state = states.get(BACKBONE_FILE)
    if BACKBONE_FILE in written.carried:
        state = verified(folder, BACKBONE_FILE, written.carried[BACKBONE_FILE])
    if state is None:
        raise CheckpointError(f"{folder} lists no {BACKBONE_FILE} and names no `backbone_weights`; save the model anew")
    backbone = build_backbone(written.backbone, written.backbone_taps)
    fill(backbone, state, f"{folder}/{BACKBONE_FILE}")
    if weights is not None and record is not None:
        check_probe(backbone, record.probe, weights)
    return backbone


def text_in(folder: str | Path, written: ModelFile) -> TextSpec | None:
    """Where the folder's table of text vectors is, if it has one."""
    if written.text is None or TEXT_FILE not in written.files:
        return written.text
    verified_bytes(folder, TEXT_FILE, written.files[TEXT_FILE])
    return written.text.model_copy(update={"table": store.join(str(folder), TEXT_FILE)})


def verified(folder: str | Path, file: str, digest: str) -> dict[str, Tensor]:
    try:
        return load_safetensors(verified_bytes(folder, file, digest))
    except SafetensorError as error:
        raise CheckpointError(f"{store.join(str(folder), file)} is not a safetensors file ({error})") from error


def fill(module: torch.nn.Module, state: dict[str, Tensor], source: str) -> None:
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines()]
        raise CheckpointError(f"{source} does not fit the network that {MODEL_FILE} describes: {lines[1]}") from error


def import_checkpoint(path: str | Path, backbone: str, out: str | Path) -> ModelFile:
    """Turns a published `best_model.pt` into a model folder; nothing inside the file is run."""
    network = from_published(read_state_dict(path), backbone)
    return save_model(out, f"tlg-published-{backbone}", network.backbone, network, text=TextSpec())
