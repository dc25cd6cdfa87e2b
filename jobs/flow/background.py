"""What is ordinary in a job's own collection (`run.background: collection`): fitted once, kept for all nights.

The pictures are chosen by the digests of their addresses, whatever the order of a listing. What was fitted lies in
`_background/<model digest>.safetensors` of the output, with their addresses in its header; it is put there once it is
whole, by one conditional put, and every later night reads it. So pictures that are added change no answer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from jobs.flow import manifest, pipeline
from jobs.flow.execution import fits_here
from jobs.flow.fetch import downloads
from jobs.output.identity import image_numbers
from tlg import pictures, store
from tlg.annotators.protocol import BackgroundArrays
from tlg.annotators.registry import load_model
from tlg.answers.records import image_id
from tlg.errors import InputError, SpecError, StorageError
from tlg.spec import AnnotateSpec

FOLDER = "_background"
# Pictures that are looked at, and the fewest that show what is ordinary: a sixth of them make a place common.
PICTURES = 120
FEWEST = 24
# Some cannot be read.
CANDIDATES = 2 * PICTURES
# The header's one entry besides the arrays; of several the order would not be the same every time.
ORIGIN = "origin"


@dataclass(frozen=True)
class CollectionBackground:
    """`digest` is that of the whole file, sample and all."""

    digest: str
    arrays: BackgroundArrays


def fit_and_keep(
    spec: AnnotateSpec, model_digest: str, access: store.Access, address: str | None
) -> CollectionBackground:
    """Fitted by a worker like those that will answer, and kept; of two that do it at once the first is believed."""
    output = spec.output.uri
    indices = f"{output.rstrip('/')}/{manifest.archives.FOLDER}"
    rows = sample(manifest.listed(spec.images, access, output, indices))
    content = _fitted_by_a_worker(spec, model_digest, rows, access, address)
    place = _place(spec, model_digest)
    return _read(content if store.create(place, content, access) else store.read(place, access), place)


def load_earlier(spec: AnnotateSpec, model_digest: str, access: store.Access) -> CollectionBackground | None:
    """What an earlier night left."""
    place = _place(spec, model_digest)
    try:
        return _read(store.read(place, access), place)
    except StorageError as error:
        if error.missing:
            return None
        raise


def sample(batches: Iterable[manifest.Listed], most: int = CANDIDATES) -> list[dict[str, Any]]:
    """The images with the smallest numbers, the smallest first, as `jobs.flow.fetch.downloads` takes them."""
    rows: dict[int, dict[str, Any]] = {}
    limit = int(np.iinfo(np.uint64).max)
    for batch in batches:
        numbers = image_numbers([image_id(uri) for uri in batch.uris])
        for index in np.flatnonzero(numbers <= limit).tolist():
            rows.setdefault(int(numbers[index]), _row(batch, index))
        smallest = sorted(rows)[:most]
        rows = {number: rows[number] for number in smallest}
        limit = smallest[-1] if len(smallest) == most else limit
    return list(rows.values())


def fitted(
    model: str,
    device: str,
    rows: list[dict[str, Any]],
    access: store.Access,
    max_pixels: int,
    max_bytes: int,
    model_digest: str,
) -> bytes:
    """The file's content."""
    from safetensors.numpy import save

    shown: list[str] = []
    arrays = load_model(model, device).background_of(_pictures(rows, access, max_pixels, max_bytes, shown))
    origin = json.dumps({"model": model_digest, "pictures": shown})
    return save(dict(arrays), {ORIGIN: origin})


def _fitted_by_a_worker(
    spec: AnnotateSpec, model_digest: str, rows: list[dict[str, Any]], access: store.Access, address: str | None
) -> bytes:
    workers, run = spec.workers, spec.run
    arguments = (spec.model, workers.device, rows, access, run.max_pixels, run.max_bytes, model_digest)
    if fits_here(workers, address):
        return fitted(*arguments)
    with pipeline.ray_session(address, workers):
        return pipeline.call_as_worker(workers, fitted, *arguments)


def _pictures(
    rows: list[dict[str, Any]], access: store.Access, max_pixels: int, max_bytes: int, shown: list[str]
) -> Iterator[pictures.Picture]:
    """As many as are needed. What a store cannot give for now ends the run: a sample depends on no weather."""
    for row, load in downloads(rows, access, max_bytes):
        if len(shown) == PICTURES:
            return
        try:
            picture = pictures.guarded_decode(load()[0], max_pixels)
        except (InputError, MemoryError):
            continue
        except StorageError as error:
            if error.transient or not error.missing:
                raise
            continue
        shown.append(row["uri"])
        yield picture
    if len(shown) < FEWEST:
        raise SpecError(
            f"run.background is `collection`, and only {len(shown)} pictures of it can be read: at least {FEWEST} show"
            " what is ordinary; leave the key out until there are more (everything is answered anew after that)"
        )


def _row(batch: manifest.Listed, index: int) -> dict[str, Any]:
    place = batch.places[index] if batch.places else None
    return {"uri": batch.uris[index], "etag": batch.etags[index], "size": batch.sizes[index], "place": place}


def _place(spec: AnnotateSpec, model_digest: str) -> str:
    return f"{spec.output.uri.rstrip('/')}/{FOLDER}/{model_digest}.safetensors"


def _read(content: bytes, place: str) -> CollectionBackground:
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
    except (SafetensorError, ValueError) as error:
        raise StorageError(
            f"{place} is damaged ({error}); remove it to have it fitted anew, and everything answered anew"
        ) from error
    return CollectionBackground(hashlib.sha256(content).hexdigest(), arrays)
