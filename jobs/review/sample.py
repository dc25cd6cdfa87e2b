"""The pictures that people are shown: `review/sample-*.parquet`, with the chance that each had.

Everybody who reviews the same answers is shown the same pictures. The file is for who wants to weigh them otherwise.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from jobs.output.catalogue import Catalogue
from jobs.output.identity import image_numbers, is_in
from jobs.output.parts import Rows, rows_by_image
from jobs.output.selection import ANSWER_COLUMNS
from jobs.review import scan
from jobs.review.verdicts import FOLDER
from tlg import store
from tlg.answers import records
from tlg.errors import SpecError, StorageError
from tlg.review.sampling import shuffled

COLUMNS = [*ANSWER_COLUMNS, "model_digest", "exemplars_digest", "params_digest"]
SCHEMA = pa.schema(
    [("image_id", pa.string()), ("image_uri", pa.string()), ("stratum", pa.int32()), ("probability", pa.float64())]
)


@dataclass(frozen=True)
class SampledPicture:
    """A picture and the rows of its classes, those with masks first."""

    image_id: str
    image_uri: str
    stratum: int
    probability: float
    rows: Rows


def drawn(catalogue: Catalogue, pictures: int) -> list[SampledPicture]:
    """The sample, in the order in which it is shown; it is kept in the output."""
    if pictures < 1:
        raise SpecError(f"--pictures {pictures}: expected 1 or more")
    counted = scan.population(catalogue)
    if not counted.pictures:
        raise StorageError(f"{catalogue.output}: no answers to review here; run the job first", missing=True)
    sample = scan.draw(catalogue, counted, pictures)
    place = {int(number): at for at, number in enumerate(sample.numbers)}
    picture_of: dict[int, SampledPicture] = {}
    for rows in rows_of(catalogue, sample.numbers):
        number = int(rows[0]["image_id"][:16], 16)
        at = place[number]
        chance = float(sample.probability[at])
        picture_of[number] = SampledPicture(
            rows[0]["image_id"], rows[0]["image_uri"], int(sample.stratum[at]), chance, _masks_first(rows)
        )
    shown = [picture_of[int(number)] for number in sample.numbers[shuffled(sample.numbers)]]
    _keep(catalogue, shown)
    return shown


def rows_of(catalogue: Catalogue, numbers: np.ndarray) -> Iterator[Rows]:
    """The rows of some images' classes, image by image."""
    wanted = np.unique(numbers)
    for rows in rows_by_image(_tables_of(catalogue, wanted)):
        if rows[0]["status"] != "error":
            yield records.class_rows(rows)


def rows_of_ids(catalogue: Catalogue, image_ids: Iterable[str]) -> Iterator[Rows]:
    unique = sorted(set(image_ids))
    return rows_of(catalogue, image_numbers(unique)) if unique else iter(())


def _tables_of(catalogue: Catalogue, wanted: np.ndarray) -> Iterator[pa.Table]:
    for table in catalogue.tables(COLUMNS, catalogue.with_images(wanted)):
        chosen = table.filter(pa.array(is_in(image_numbers(table["image_id"]), wanted)))
        yield chosen.filter(pc.is_null(chosen["part"]))


def _masks_first(rows: Rows) -> Rows:
    return sorted(rows, key=lambda row: (row["status"] != "mask", row["class_id"]))


def _keep(catalogue: Catalogue, shown: list[SampledPicture]) -> None:
    columns = {name: [getattr(picture, name) for picture in shown] for name in SCHEMA.names}
    stream = io.BytesIO()
    pq.write_table(pa.table(columns, SCHEMA), stream, compression="zstd")
    name = f"sample-{catalogue.fingerprint[:12]}-{len(shown)}.parquet"
    store.create(f"{catalogue.output}/{FOLDER}/{name}", stream.getvalue(), catalogue.access)
