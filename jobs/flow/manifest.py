"""Which images there are: a prefix, a list or a manifest file, streamed in batches."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from jobs.flow import archives
from jobs.flow.manifest_files import manifest_rows
from tlg import pictures, store
from tlg.errors import EmptyCollectionError, SpecError
from tlg.spec import ImagesSpec
from tlg.store.archives import Place, is_archive, member_address, names_archives, parted

ENTRIES_PER_BATCH = 20_000
# What a run writes below its output, beside folders that begin with an underscore.
OUTPUT_FOLDERS = ("annotations", "coco", "label_studio", "overlay", "quarantine", "report", "review", "runs")


@dataclass
class Listed:
    """A batch of images: parallel columns; `labels` is None where every class is looked for, `places` where none is in
    an archive.

    `left_out` counts what was found beside them since the batch before, by reason.
    """

    uris: list[str]
    etags: list[str | None]
    sizes: list[int | None]
    labels: list[list[str] | None] | None = None
    left_out: Counter[str] = field(default_factory=Counter)
    places: list[str | None] | None = None

    def read(self, number: int, access: store.Access) -> bytes:
        """One image's bytes."""
        place = self.places[number] if self.places else None
        if place is None:
            return store.read(self.uris[number], access)
        return store.read_member(self.uris[number], Place.of(place), self.etags[number], access)


def listed(
    spec: ImagesSpec,
    access: store.Access = store.DEFAULT_ACCESS,
    output: str | None = None,
    indices: str | None = None,
) -> Iterator[Listed]:
    """Every image of the collection, in the store's order, but none that a run wrote into `output` itself.

    `indices` is the folder where the indices of tars are kept from run to run.
    """
    if spec.manifest is not None:
        batches, reason = _manifest_rows(spec.manifest, spec.labels, access), "the manifest has no rows"
    elif store.scheme(spec.uri or "") in ("http", "https"):
        batches, reason = _web_list(spec.uri or "", access), "the list has no addresses"
    else:
        batches, reason = _below(spec, access, output, indices), "nothing is there; check the name"
    images = 0
    left_out: Counter[str] = Counter()
    for batch in batches:
        images += len(batch.uris)
        left_out += batch.left_out
        yield batch
    if not images:
        cause = f"found {counted(left_out)}" if left_out else reason
        raise EmptyCollectionError(f"{spec.manifest or spec.uri}: no images: {cause}")


def _below(spec: ImagesSpec, access: store.Access, output: str | None, indices: str | None) -> Iterator[Listed]:
    """Files below the folder, and members of archives where the pattern or the address itself asks for these."""
    folder = spec.uri or ""
    pattern, _, inner = spec.pattern.partition("#")
    is_one, opens = is_archive(folder), names_archives(pattern)
    matches, is_member, is_ours = store.matcher(pattern), store.matcher(inner or "**/*"), _output_test(folder, output)
    base = len(_plain(folder)) + 1
    batch = Listed([], [], [], places=[])

    def leave_out(uri: str, reason: str) -> None:
        batch.left_out[reason] += 1

    def add(uri: str, etag: str, size: int | None, place: str | None) -> Iterator[Listed]:
        nonlocal batch
        assert batch.places is not None
        batch.uris.append(uri)
        batch.etags.append(etag)
        batch.sizes.append(size)
        batch.places.append(place)
        if len(batch.uris) == ENTRIES_PER_BATCH:
            full, batch = batch, Listed([], [], [], places=[])
            yield full

    entries = iter([store.stat(folder, access)]) if is_one else store.entries(folder, access=access, left_out=leave_out)
    for entry in entries:
        place = _plain(entry.uri)
        if is_one or (opens and is_archive(place) and not is_ours(place) and matches(place[base:])):
            for member in archives.images_in(entry, access, is_member, leave_out, indices):
                uri = member_address(entry.uri, member.name) if member.name else entry.uri
                yield from add(uri, entry.etag, member.size, member.place.text())
        elif is_ours(place):
            leave_out(entry.uri, "files of the job's own output")
        elif not matches(place[base:]):
            leave_out(entry.uri, f"files that do not match {pattern}")
        elif not place.lower().endswith(pictures.EXTENSIONS):
            leave_out(entry.uri, _no_image(place))
        else:
            yield from add(entry.uri, entry.etag, entry.size or None, None)  # 0 where a store does not say
    yield batch


def _no_image(place: str) -> str:
    ending = os.path.splitext(place)[1].lower()
    if is_archive(place):
        return f"{ending} files (images.pattern: '**/*{ending}' reads the images in them)"
    return f"{ending} files" if ending else "files without an ending"


def _output_test(folder: str, output: str | None) -> Callable[[str], bool]:
    """Whether a place lies in the job's own output, which may be in, at or above the collection's folder."""
    if output is None:
        return lambda place: False
    ours, images = _plain(output) + "/", _plain(folder) + "/"
    if ours.startswith(images) and ours != images:
        return lambda place: place.startswith(ours)
    own = tuple(f"{ours}{name}/" for name in OUTPUT_FOLDERS)
    return lambda place: place.startswith((*own, f"{ours}_"))


def _plain(uri: str) -> str:
    place = store.path_in_store(uri) if store.scheme(uri) == "file" else uri
    return place.rstrip("/")


def counted(counts: Counter[str]) -> str:
    ordered = sorted(counts.items(), key=_most_first)
    return ", ".join(f"1 {_singular(reason)}" if count == 1 else f"{count:,} {reason}" for reason, count in ordered)


def _singular(reason: str) -> str:
    """'file that does not match *.jpg' for 'files that do not match *.jpg'; the pattern stays as it is."""
    noun = re.sub(r"(?<![.\w])(file|member|task|folder)s\b", r"\1", reason, count=1)
    return re.sub(r" (do|are) not ", lambda verb: {"do": " does not ", "are": " is not "}[verb[1]], noun, count=1)


def _most_first(counted: tuple[str, int]) -> tuple[int, str]:
    reason, count = counted
    return -count, reason


def _manifest_rows(uri: str, labels: str | None, access: store.Access) -> Iterator[Listed]:
    folder = store.parent(uri)
    wanted = ["uri", "etag", "size", *([labels] if labels else [])]
    rows = manifest_rows(uri, wanted, ["uri", *([labels] if labels else [])], access)
    while part := list(islice(rows, ENTRIES_PER_BATCH)):
        without = sum(1 for row in part if not row["uri"])
        if without:
            raise SpecError(f"{uri}: {without} rows without a uri; remove them or fill them in")
        uris = [store.join(folder, str(row["uri"])) for row in part]
        etags, sizes = _states(uri, uris, part)
        yield Listed(uris, etags, sizes, [_names(row[labels]) for row in part] if labels else None)


def _states(manifest: str, uris: list[str], rows: list[dict[str, Any]]) -> tuple[list[str | None], list[int | None]]:
    """Etags and sizes from the manifest's own columns, of local files from the disk, else unknown."""
    etags: list[str | None]
    sizes: list[int | None]
    if "etag" in rows[0]:
        etags = [None if row["etag"] in (None, "") else str(row["etag"]) for row in rows]
        return etags, [_size(manifest, row.get("size")) for row in rows]
    etags, sizes = [], []
    for uri in uris:
        archive = parted(uri)
        place = store.path_in_store(archive[0] if archive else uri)
        state = store.local_state(place) if store.scheme(uri) == "file" else None
        etags.append(state.etag if state else None)
        sizes.append(state.size if state and not archive else None)
    return etags, sizes


def _size(manifest: str, value: object) -> int | None:
    if value is None or value == "":
        return None
    try:
        return int(str(value))
    except ValueError:
        raise SpecError(f"{manifest}: size {value!r}; expected a whole number of bytes") from None


def _names(value: object) -> list[str] | None:
    """Candidate classes as a manifest writes them: a list, JSON, or names between commas or semicolons."""
    if value is None:
        return None
    if isinstance(value, list):
        return [str(name) for name in value]
    text = str(value).strip()
    if text.startswith("["):
        try:
            return [str(name) for name in json.loads(text)]
        except json.JSONDecodeError:
            raise SpecError(f"labels {text!r}: neither a JSON list nor names between commas") from None
    return [name.strip() for name in text.replace(";", ",").split(",") if name.strip()]


def _web_list(uri: str, access: store.Access) -> Iterator[Listed]:
    """One address a line; the server's version of an image is not known, so an address stands for its content."""
    lines = [line.strip() for line in store.read_text(uri, access).splitlines()]
    uris = [store.join(store.parent(uri), line) for line in lines if line and not line.startswith("#")]
    for start in range(0, len(uris), ENTRIES_PER_BATCH):
        part = uris[start : start + ENTRIES_PER_BATCH]
        yield Listed(part, [None] * len(part), [None] * len(part))
