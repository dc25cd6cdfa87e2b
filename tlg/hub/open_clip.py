"""An open_clip model as the source of names of a model folder: how such a folder is made, and how it is read."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import open_clip

from tlg.documents import parse
from tlg.errors import CheckpointError, SpecError
from tlg.evidence.names.registry import OPEN_CLIP
from tlg.evidence.open_clip.building import architecture_of, built_text_side
from tlg.evidence.open_clip.clip import CLIP_MEAN, CLIP_STD
from tlg.evidence.open_clip.clip_spec import ClipPriorSpec
from tlg.evidence.open_clip.image_prior import TextSide
from tlg.hub.digests import digest_line, sha256, verified_bytes
from tlg.hub.model_file import MODEL_FILE, OpenClipSpec
from tlg.hub.packing import check_digests, read_local
from tlg.hub.sources.hugging_face import PREFIX
from tlg.hub.sources.registry import source_of
from tlg.hub.sources.source import WeightFile
from tlg.hub.weights import state_dict_in

# As open_clip calls the file of weights in a repository on a hub.
HUB_FILE = "open_clip_model.safetensors"
WAY_OUT = "give a path, a URI, hf://org/repo/file or one of its tags as --clip-weights"


def add_clip(source: Path, target: Path, spec: ClipPriorSpec) -> Iterator[str]:
    """Makes the folder `target`, `source` with this CLIP as its source of names; tells the digest of every file.

    A file of weights is copied; weights elsewhere are named, and must be the same file whenever they are read.
    """
    if target.exists():
        raise CheckpointError(f"{target} is there already; name a folder that is not, or remove it first")
    written = read_local(source)
    check_digests(source, written)
    address, published = weights_of(spec)
    reader, inner = source_of(address, spec.architecture)
    weights = reader.read(inner)
    described = described_clip(spec, published, weights, None if Path(address).is_file() else address)
    fitting_text_side(described, weights, address)  # what does not fit is told now, not on the first night
    content = json.loads((source / MODEL_FILE).read_text())
    content |= {"name": target.name, "names": OPEN_CLIP, "open_clip": described.model_dump(mode="json")}
    former = None if written.open_clip is None else written.open_clip.file
    for key in ("files", "carried"):
        content[key] = {file: digest for file, digest in content.get(key, {}).items() if file != former}
    target.mkdir(parents=True)
    for file in (*content["files"], *content["carried"], *(text.name for text in sorted(source.glob("*.md")))):
        shutil.copyfile(source / file, target / file)
        yield digest_line((target / file).read_bytes(), str(target / file))
    if described.weights is None:
        content["files"][described.file] = described.sha256
        (target / described.file).write_bytes(weights.content)
        yield digest_line(weights.content, str(target / described.file))
    model_file = (json.dumps(content, indent=2) + "\n").encode()
    (target / MODEL_FILE).write_bytes(model_file)
    yield digest_line(model_file, str(target / MODEL_FILE))


def weights_of(spec: ClipPriorSpec) -> tuple[str, Mapping[str, Any]]:
    """The address of the weights, and what open_clip says of them where they are one of its tags."""
    architecture_of(spec.architecture)
    if spec.weights is None:
        raise SpecError(f"{spec.architecture} has no weights, so it knows no names; {WAY_OUT}")
    published: Mapping[str, Any] = open_clip.get_pretrained_cfg(spec.architecture, spec.weights)
    if not published:
        return spec.weights, {}
    if not published.get("hf_hub"):
        raise CheckpointError(
            f"open_clip's weights {spec.weights!r} of {spec.architecture} are on no hub, but at {published.get('url')};"
            " fetch the file and give its path as --clip-weights"
        )
    organisation, repository, *file = published["hf_hub"].rstrip("/").split("/")
    return f"{PREFIX}{organisation}/{repository}/{'/'.join(file) or HUB_FILE}", published


def described_clip(
    spec: ClipPriorSpec, published: Mapping[str, Any], weights: WeightFile, address: str | None
) -> OpenClipSpec:
    config = architecture_of(spec.architecture)
    if published.get("quick_gelu"):
        config["quick_gelu"] = True
    return OpenClipSpec(
        config=config,
        mean=published.get("mean") or CLIP_MEAN,
        std=published.get("std") or CLIP_STD,
        settings=spec.model_dump(mode="json", exclude={"weights"}),
        file=f"open_clip{Path(weights.name).suffix}",
        weights=address,
        sha256=sha256(weights.content),
        size=len(weights.content),
    )


def loaded_open_clip(folder: str | Path, described: OpenClipSpec, files: Mapping[str, str]) -> TextSide:
    """From the folder's own file where it lists one, else from where it says that the weights are."""
    if described.file in files:
        content = verified_bytes(folder, described.file, described.sha256)
        return fitting_text_side(described, WeightFile(described.file, content), f"{folder}/{described.file}")
    if described.weights is None:
        raise CheckpointError(f"{folder} describes an open_clip model, but lists no {described.file}; make it anew")
    return fitting_text_side(described, named_weights(described), described.weights)


def named_weights(described: OpenClipSpec) -> WeightFile:
    assert described.weights is not None
    reader, address = source_of(described.weights, "")
    weights = reader.read(address)
    actual = sha256(weights.content)
    if actual != described.sha256:
        raise CheckpointError(
            f"CLIP weights {described.weights} are not the file they were: their SHA-256 is {actual[:16]}...,"
            f" {MODEL_FILE} says {described.sha256[:16]}...; make the folder anew with `tlg models add-clip`"
        )
    return weights


def fitting_text_side(described: OpenClipSpec, weights: WeightFile, source: str) -> TextSide:
    spec = parse(ClipPriorSpec, described.settings, f"{MODEL_FILE}: open_clip.settings")
    state = state_dict_in(weights, source)
    return built_text_side(described.config, state, spec, described.mean, described.std, source)
