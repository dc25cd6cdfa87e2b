"""What the `tlg models` commands say and do. A listing imports no torch."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tlg.errors import CheckpointError
from tlg.hub.model_file import MODEL_FILE, ModelFile
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
    card, record = written.card, written.backbone_record
    fetched = record.size if record is not None else (card and card.weights_size) or 0
    return sum((folder / file).stat().st_size for file in written.files) + fetched


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def is_here(written: ModelFile) -> bool:
    if written.backbone_weights is None:
        return True
    source, address = source_of(written.backbone_weights, written.backbone)
    return source.here(address)


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
        if written.backbone_weights is None:
            yield f"{name} is whole as it is installed"
            return
        source, address = source_of(written.backbone_weights, written.backbone)
        yield digest_line(source.read(address).content, written.backbone_weights)
        return
    target = to / name
    if target.exists():
        raise CheckpointError(f"{target} is there already; name a folder that has no {name}, or remove it first")
    yield from carry(folder, written, target)


def carry(folder: Path, written: ModelFile, target: Path) -> Iterator[str]:
    """The model folder as it is, with the weights it names beside it; answers carry the same model digest."""
    content = json.loads((folder / MODEL_FILE).read_text())
    backbone: bytes | None = None
    if written.backbone_weights is not None and CARRIED_BACKBONE not in written.carried:
        from safetensors.torch import save

        from tlg.hub.backbones import load_recorded
        from tlg.hub.folder import tensors

        loaded = load_recorded(
            written.backbone, written.backbone_weights, written.backbone_record, written.backbone_taps
        )
        backbone = save(tensors(loaded))
        content["carried"] = {CARRIED_BACKBONE: sha256(backbone)}
    target.mkdir(parents=True)
    texts = [text.name for text in sorted(folder.glob("*.md"))]
    for file in (*written.files, *written.carried, *texts):
        shutil.copyfile(folder / file, target / file)
        yield digest_line((target / file).read_bytes(), str(target / file))
    if backbone is not None:
        (target / CARRIED_BACKBONE).write_bytes(backbone)
        yield digest_line(backbone, str(target / CARRIED_BACKBONE))
    model_file = (json.dumps(content, indent=2) + "\n").encode()
    (target / MODEL_FILE).write_bytes(model_file)
    yield digest_line(model_file, str(target / MODEL_FILE))


def digest_line(content: bytes, what: str) -> str:
    """As `sha256sum --check` reads it."""
    return f"{sha256(content)}  {what}"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def licences() -> Iterator[str]:
    """One page: what is installed with the product, and what its models are made of."""
    from tlg.hub.licences import model_licences, package_licences

    for title, licence_of in (("Models and weights", model_licences()), ("Packages", package_licences())):
        yield title
        width = max(map(len, licence_of))
        yield from (f"  {name.ljust(width)}  {licence}" for name, licence in licence_of.items())


def named(name: str) -> tuple[Path, ModelFile]:
    known = described_models()
    if name in known:
        return known_models()[name], known[name]
    raise CheckpointError(unknown("model", name, known))


def pack(folder: str, file: Path) -> Sequence[str]:
    """One file of a model folder, or of a model by name."""
    from tlg.hub import packing
    from tlg.hub.zoo import model_folder

    return packing.pack(Path(model_folder(folder)), file)
