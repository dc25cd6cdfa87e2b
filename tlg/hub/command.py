"""What the `tlg models` commands say and do. A listing imports no torch."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tlg.errors import CheckpointError
from tlg.hub.digests import digest_line, sha256
from tlg.hub.model_file import MODEL_FILE, ModelFile, read_model_file
from tlg.hub.sources.registry import source_of
from tlg.hub.zoo import described_models, known_models
from tlg.registry import unknown

HEADINGS = ("model", "backbone", "size", "weights", "licence", "good for")
CARRIED_BACKBONE = "backbone.safetensors"


def table() -> list[str]:
    """Every known model in a line."""
    rows = [HEADINGS, *(row_of(name, written) for name, written in described_models().items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADINGS))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def row_of(name: str, written: ModelFile) -> tuple[str, ...]:
    card = written.card
    return (
        name,
        written.backbone,
        megabytes(size_of(name, written)),
        "here" if is_here(written) else "to be fetched",
        "not stated" if card is None else card.licence,
        "" if card is None else card.good_for,
    )


def size_of(name: str, written: ModelFile) -> int:
    """Bytes of the folder's files and of the weights that it names."""
    folder = known_models()[name]
    card, record, clip = written.card, written.backbone_record, written.open_clip
    fetched = record.size if record is not None else (card and card.weights_size) or 0
    fetched += clip.size if clip is not None and clip.weights is not None else 0
    return sum((folder / file).stat().st_size for file in written.files) + fetched


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def is_here(written: ModelFile) -> bool:
    places = [source_of(weights, written.backbone) for weights in named_weights(written)]
    return all(source.here(address) for source, address in places)


def named_weights(written: ModelFile) -> list[str]:
    """Where the weights are that the folder leaves out."""
    clip = None if written.open_clip is None else written.open_clip.weights
    return [weights for weights in (written.backbone_weights, clip) if weights is not None]


def card(name: str) -> Iterator[str]:
    """Everything known about a model, and the texts that lie in its folder."""
    folder, written = named(name)
    yield f"name      {written.name}"
    yield f"backbone  {written.backbone}"
    if written.backbone_weights is not None:
        yield f"weights   {written.backbone_weights}"
    record = written.backbone_record
    if record is not None:
        yield f"          {megabytes(record.size)}, SHA-256 {record.sha256}, licence {record.licence or 'not stated'}"
    elif written.card is not None and written.card.weights_licence is not None:
        yield f"          licence {written.card.weights_licence}"
    if written.open_clip is not None:
        clip = written.open_clip
        yield f"names     {clip.settings['architecture']}, {megabytes(clip.size)}, SHA-256 {clip.sha256}"
        yield f"          {clip.weights or clip.file}"
    yield f"input     {written.input_size[0]} x {written.input_size[1]} pixels"
    if written.card is not None:
        yield f"licence   {written.card.licence}"
        yield f"good for  {written.card.good_for}"
    for file, digest in written.files.items():
        yield f"file      {file}  SHA-256 {digest}"
    for text in sorted(folder.glob("*.md")):
        yield ""
        yield text.read_text()


def fetch(name: str, to: Path | None) -> Iterator[str]:
    """Gets a model's weights into this machine's caches, or the whole model into `to`/NAME for another machine."""
    folder, written = named(name)
    if to is None:
        if not named_weights(written):
            yield f"{name} is whole as it is installed"
        for weights in named_weights(written):
            source, address = source_of(weights, written.backbone)
            yield digest_line(source.read(address).content, weights)
        return
    target = to / Path(name).name
    if target.exists():
        raise CheckpointError(f"{target} is there already; name a folder that has no {name}, or remove it first")
    yield from carry(folder, written, target)


def carry(folder: Path, written: ModelFile, target: Path) -> Iterator[str]:
    """The model folder as it is, with the weights it names beside it; answers carry the same model digest."""
    content = json.loads((folder / MODEL_FILE).read_text())
    fetched: dict[str, bytes] = {}
    if written.backbone_weights is not None and CARRIED_BACKBONE not in written.carried:
        from safetensors.torch import save

        from tlg.hub.backbones import load_recorded
        from tlg.hub.folder import tensors

        loaded = load_recorded(
            written.backbone, written.backbone_weights, written.backbone_record, written.backbone_taps
        )
        fetched[CARRIED_BACKBONE] = save(tensors(loaded))
    clip = written.open_clip
    if clip is not None and clip.weights is not None and clip.file not in written.carried:
        from tlg.hub import open_clip

        fetched[clip.file] = open_clip.named_weights(clip).content
    if fetched:
        content["carried"] = written.carried | {file: sha256(data) for file, data in fetched.items()}
    target.mkdir(parents=True)
    texts = [text.name for text in sorted(folder.glob("*.md"))]
    for file in (*written.files, *written.carried, *texts):
        shutil.copyfile(folder / file, target / file)
        yield digest_line((target / file).read_bytes(), str(target / file))
    for file, data in fetched.items():
        (target / file).write_bytes(data)
        yield digest_line(data, str(target / file))
    model_file = (json.dumps(content, indent=2) + "\n").encode()
    (target / MODEL_FILE).write_bytes(model_file)
    yield digest_line(model_file, str(target / MODEL_FILE))


def licences() -> Iterator[str]:
    """One page: what is installed with the product, and what its models are made of."""
    from tlg.hub.licences import model_licences, package_licences

    for title, licence_of in (("Models and weights", model_licences()), ("Packages", package_licences())):
        yield title
        width = max(map(len, licence_of))
        yield from (f"  {name.ljust(width)}  {licence}" for name, licence in licence_of.items())


def named(name: str) -> tuple[Path, ModelFile]:
    """A model by name, or a folder."""
    if (Path(name) / MODEL_FILE).is_file():
        return Path(name), read_model_file(name)
    known = described_models()
    if name in known:
        return known_models()[name], known[name]
    raise CheckpointError(unknown("model", name, known))


def pack(folder: str, file: Path) -> Sequence[str]:
    """One file of a model folder, or of a model by name."""
    from tlg.hub import packing
    from tlg.hub.zoo import model_folder

    return packing.pack(Path(model_folder(folder)), file)


def add_clip(
    model: str, folder: Path, config: str | None, given: Mapping[str, str | None], overrides: Sequence[str]
) -> Iterator[str]:
    """A folder of a model whose names an open_clip model knows."""
    from tlg.evidence.open_clip.clip_spec import read_clip_spec
    from tlg.hub import open_clip
    from tlg.hub.zoo import digest_of, model_folder

    yield from open_clip.add_clip(Path(model_folder(model)), folder, read_clip_spec(config, given, overrides))
    yield f"{folder}: model digest {digest_of(folder)}"
