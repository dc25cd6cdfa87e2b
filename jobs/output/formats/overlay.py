"""`overlay`: `overlay/<image id>.png`, a sample of pictures with their masks drawn in."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.output import marker as markers
from jobs.output.catalogue import Catalogue
from jobs.output.formats.protocol import ExportFormat
from jobs.output.identity import image_numbers
from jobs.output.leftovers import delete_if_there
from jobs.output.marker import Marker
from jobs.output.parts import rows_by_image
from jobs.output.selection import ANSWER_COLUMNS, Exported, Filter, Selection
from tlg import pictures, store
from tlg.answers.formats import overlay
from tlg.errors import InputError, StorageError

COUNT = 24
PIXELS = 4_000_000


class Overlays(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        return Exported([uri for uri, _ in _draw(answers, _sample(answers))])

    def settings(self, answers: Selection) -> Mapping[str, Any]:
        return {"format": 1, "count": COUNT}

    def update(self, answers: Selection, name: str) -> Exported:
        """Draw what the sample shows for the first time, remove what it no longer shows."""
        catalogue, access = answers.catalogue, answers.access
        marker = markers.read(catalogue.output, name, access)
        settings = markers.digest(self.settings(answers))
        if marker and (marker.state, marker.settings) == (catalogue.fingerprint, settings):
            return Exported([])
        before: dict[str, str] = marker.made["drawn"] if marker and marker.settings == settings else {}
        sample = _sample(answers)
        runs_of = _runs_of(catalogue, sample)
        current = {image_id: run for image_id, run in before.items() if runs_of.get(int(image_id[:16], 16)) == run}
        todo = [number for number in sample if number not in {int(image_id[:16], 16) for image_id in current}]
        written = _draw(answers, todo)
        drawn = current | {image_id: runs_of[int(image_id[:16], 16)] for _, image_id in written}
        for image_id in before.keys() - drawn.keys():
            delete_if_there(f"{catalogue.output}/overlay/{image_id}.png", access)
        Marker(catalogue.fingerprint, settings, {"drawn": drawn}).write(catalogue.output, name, access)
        return Exported([uri for uri, _ in written])


def _sample(answers: Selection) -> list[int]:
    """Images with masks, in the order of their ids, which is no order at all."""
    catalogue = answers.catalogue
    numbers = np.zeros(0, np.uint64)
    if answers.chosen == Filter():
        for index in catalogue.shards:
            marked = index.numbers[(index.masks > 0) & catalogue.holds(index)]
            numbers = np.unique(np.concatenate([numbers, marked]))[:COUNT]
    else:
        for table in answers.tables(["image_id", "status", "score", "class_name"]):
            marked = image_numbers(table.filter(pc.equal(table["status"], "mask"))["image_id"])
            numbers = np.unique(np.concatenate([numbers, marked]))[:COUNT]
    return numbers.tolist()


def _runs_of(catalogue: Catalogue, numbers: list[int]) -> dict[int, str]:
    """Which run answered each image."""
    wanted = np.asarray(sorted(numbers), np.uint64)
    runs: dict[int, str] = {}
    for index in catalogue.with_images(wanted):
        for place in np.flatnonzero(np.isin(index.numbers, wanted) & catalogue.holds(index)).tolist():
            runs[int(index.numbers[place])] = index.origins[index.origin[place]].run_id
    return runs


def _draw(answers: Selection, numbers: list[int]) -> list[tuple[str, str]]:
    """PNGs of some images: (uri, image id) of each."""
    written = []
    for rows in rows_by_image(_rows_of(answers, numbers)):
        try:
            content = store.read(rows[0]["image_uri"], answers.access)
            picture = overlay.draw(pictures.decode(content, max_pixels=PIXELS).pixels, rows)
        except (InputError, StorageError):
            continue  # gone or replaced since it was answered
        stream = io.BytesIO()
        picture.save(stream, "PNG")
        uri = f"{answers.base}/overlay/{rows[0]['image_id']}.png"
        store.write(uri, stream.getvalue(), answers.access)
        written.append((uri, rows[0]["image_id"]))
    return written


def _rows_of(answers: Selection, numbers: list[int]) -> Iterator[pa.Table]:
    wanted = np.asarray(sorted(numbers), np.uint64)
    for table in answers.tables(ANSWER_COLUMNS, answers.catalogue.with_images(wanted)):
        yield table.filter(pa.array(np.isin(image_numbers(table["image_id"]), wanted)))
