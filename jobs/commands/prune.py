"""`tlg prune`: removes the answers of images that have left the collection."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from jobs.output import catalogue as catalogues
from jobs.output import departed, quarantine, runs
from jobs.output.catalogue import Catalogue
from jobs.output.identity import image_numbers, is_in
from jobs.output.lease import Lease
from jobs.output.writer import ShardWriter
from tlg import store
from tlg.errors import SpecError, StorageError

EXAMPLES = 10


def prune(output: str, remove: bool, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[str]:
    """Say what the last run did not find in the collection; with `remove`, remove its rows and its quarantine."""
    output = output.rstrip("/")
    if not runs.recorded(output, access, last=1):
        raise StorageError(f"{output}: no runs recorded here; expected {runs.FOLDER}/*.json", missing=True)
    if not remove:
        catalogue = catalogues.load(output, access)
        gone = departed.read(output, access)
        count = catalogue.image_count() - catalogue.leaving_out(gone).image_count()
        yield f"{count:,} of {catalogue.image_count():,} answered images have left the collection"
        for uri in _examples(catalogue, gone):
            yield f"  {uri}"
        if count:
            yield "nothing was removed; add --remove to remove their answers"
        return
    with Lease(output, runs.new_run_id(), access) as lease:
        catalogue = catalogues.load(output, access, keep=True)
        gone = departed.read(output, access)
        before = catalogue.image_count()
        left = catalogue.leaving_out(gone).image_count()
        if before and not left:
            raise SpecError(
                f"{output}: the last run found none of its {before:,} answered images; check the spec's `images` and "
                "run the job again, or delete the output if it is to go"
            )
        writer = ShardWriter(catalogue, lease)
        writer.drop_superseded()
        rows = writer.drop_images(gone)
        quarantine.write(catalogue)
        yield f"{before - left:,} images removed ({rows:,} rows); the next run writes COCO, report and the like again"


def _examples(catalogue: Catalogue, gone: np.ndarray) -> Iterator[str]:
    """A few of the images that have left."""
    examples: dict[str, None] = {}
    for table in catalogue.tables(["image_id", "image_uri"], catalogue.with_images(gone)):
        left = table.filter(pa.array(is_in(image_numbers(table["image_id"]), gone)))
        examples |= dict.fromkeys(left["image_uri"].to_pylist())
        if len(examples) >= EXAMPLES:
            break
    yield from list(examples)[:EXAMPLES]
