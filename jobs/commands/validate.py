"""`tlg validate`: everything that can be wrong with a job and can be found without running it."""

from __future__ import annotations

import uuid
from collections.abc import Iterator

from jobs.flow import manifest
from jobs.output.lease import FOLDER as LEASES
from tlg import exemplars, pictures, store
from tlg.annotators.registry import model_digest
from tlg.errors import InputError, StorageError
from tlg.spec import AnnotateSpec
from tlg.store.archives import BROKEN


def validate(spec: AnnotateSpec) -> Iterator[str]:
    """One line per check that passed; the first that does not raises its own error."""
    access = store.Access(spec.storage.endpoint, spec.storage.region)
    loaded = exemplars.load(spec.exemplars, access)
    shots = sum(len(of_class.exemplars) for of_class in loaded.classes)
    yield f"exemplars: {len(loaded.classes)} classes, {shots} images, digest {loaded.digest[:12]}"
    yield f"model: {spec.model}, digest {model_digest(spec.model)[:12]}"
    yield _check_images(spec, access)
    yield _check_output(spec, access)


def check_inputs(spec: AnnotateSpec) -> None:
    """Raise what is wrong with images, exemplars or model before a run has written anything to a new output.

    For a job that somebody starts by hand. A nightly one keeps a record of a night that could not run.
    """
    access = store.Access(spec.storage.endpoint, spec.storage.region)
    if store.listed(f"{spec.output.uri.rstrip('/')}/{LEASES}", "*", access):
        return
    exemplars.describe(spec.exemplars, access)
    model_digest(spec.model)
    _first(spec, access)


def _check_images(spec: AnnotateSpec, access: store.Access) -> str:
    source = spec.images.manifest or f"{spec.images.uri} ({spec.images.pattern})"
    first = _first(spec, access)
    try:
        picture = pictures.decode(first.read(0, access), spec.run.max_pixels)
        seen = f"{first.uris[0]} is {picture.width}x{picture.height}"
    except (InputError, StorageError) as error:
        if isinstance(error, StorageError) and error.kind != BROKEN:
            raise
        seen = f"{first.uris[0]} would be quarantined: {error}"
    return f"images: {source} can be listed and read; {seen}"


def _first(spec: AnnotateSpec, access: store.Access) -> manifest.Listed:
    return next(batch for batch in manifest.listed(spec.images, access, spec.output.uri) if batch.uris)


def _check_output(spec: AnnotateSpec, access: store.Access) -> str:
    """A file is made, made again, which must be refused, and removed."""
    uri = f"{spec.output.uri.rstrip('/')}/{LEASES}/.probe-{uuid.uuid4().hex}"
    if not store.create(uri, b"probe", access):
        raise StorageError(f"{uri}: could not be created")
    try:
        if store.create(uri, b"second", access):
            raise StorageError(
                f"{spec.output.uri}: the store ignores conditional puts (If-None-Match), which keep two runs apart; "
                "use a store that honours them"
            )
    finally:
        store.delete(uri, access)
    return f"output: {spec.output.uri} can be written"
