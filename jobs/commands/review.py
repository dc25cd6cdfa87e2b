"""`tlg review`: what people say about a sample of the answers, and what follows for all of them."""

from __future__ import annotations

from collections.abc import Iterator

from jobs.output import catalogue as catalogues
from jobs.review import figures
from jobs.review.verdicts import VerdictFile
from tlg import store
from tlg.errors import StorageError


def told(output: str, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[str]:
    """The figures of everything that was judged, kept in the output and shown in its report."""
    catalogue = _catalogue(output, access)
    found = figures.figures(catalogue)
    yield from figures.lines(found)
    yield from figures.keep(catalogue, found)


def take(output: str, file: str, reviewer: str, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[str]:
    """Verdicts from what a labelling tool exported."""
    from jobs.review import imported

    catalogue = _catalogue(output, access)
    found = imported.read(catalogue, file, reviewer, access)
    if found.verdicts:
        VerdictFile(catalogue.output, access).add(found.verdicts)
    yield f"{len(found.verdicts):,} verdicts on {found.pictures:,} pictures taken from {file}"
    yield from found.remarks
    yield from told(output, access)


def _catalogue(output: str, access: store.Access) -> catalogues.Catalogue:
    catalogue = catalogues.load(output.rstrip("/"), access)
    if not catalogue.shards:
        raise StorageError(f"{output}: no committed answers here; expected annotations/*.parquet", missing=True)
    return catalogue
