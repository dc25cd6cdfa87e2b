"""`tlg review`: what people say about a sample of the answers, and what follows for all of them."""

from __future__ import annotations

import io
from collections.abc import Iterator

from jobs.commands.verdict_files import coco as coco_file
from jobs.commands.verdict_files import label_studio as label_studio_file
from jobs.output import catalogue as catalogues
from jobs.output import runs
from jobs.output.catalogue import Catalogue
from jobs.review import figures, sample
from jobs.review.verdicts import PER_FILE, VerdictFile
from tlg import store
from tlg.answers.formats import coco, label_studio
from tlg.errors import StorageError


def told(output: str, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[str]:
    """The figures of everything that was judged, kept in the output and shown in its report."""
    catalogue = load(output, access)
    summary = figures.figures(catalogue)
    yield from figures.lines(summary)
    yield from figures.keep(catalogue, summary)


def hand_out(output: str, pictures: int, folder: str, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[str]:
    """The sample for labelling tools: tasks for Label Studio, COCO for CVAT, and the list of its pictures."""
    catalogue = load(output, access)
    rows = [picture.rows for picture in sample.drawn(catalogue, pictures)]
    tasks, instances = io.StringIO(), io.StringIO()
    label_studio.write(tasks, rows)
    newest_first = (
        (of_class.class_id, of_class.name) for index in reversed(catalogue.shards) for of_class in index.classes
    )
    coco.write(instances, rows, coco.distinct_categories(newest_first), "rle", _root(catalogue))
    names = "".join(f"{picture_rows[0]['image_uri']}\n" for picture_rows in rows)
    files = {"tasks.json": tasks.getvalue(), "instances.json": instances.getvalue(), "pictures.txt": names}
    for name, content in files.items():
        uri = f"{folder.rstrip('/')}/{name}"
        store.write(uri, content.encode(), access)
        yield uri


def take(
    output: str, pictures: int, file: str, reviewer: str, access: store.Access = store.DEFAULT_ACCESS
) -> Iterator[str]:
    """Verdicts out of what a labelling tool exported of the sample."""
    catalogue = load(output, access)
    answered = [picture.rows for picture in sample.drawn(catalogue, pictures)]
    text = store.read_text(file, access) if file.endswith(".json") else ""
    if text.lstrip().startswith("["):
        taken = label_studio_file.read(text, file, answered, reviewer)
    else:
        taken = coco_file.read(file, answered, catalogue, _root(catalogue), reviewer)
    keeper = VerdictFile(catalogue.output, access)
    for start in range(0, len(taken.verdicts), PER_FILE):
        keeper.add(taken.verdicts[start : start + PER_FILE])
    yield f"{len(taken.verdicts):,} verdicts on {taken.pictures:,} pictures taken from {file}"
    yield from taken.remarks
    yield from told(output, access)


def load(output: str, access: store.Access) -> Catalogue:
    catalogue = catalogues.load(output.rstrip("/"), access)
    if not catalogue.shards:
        raise StorageError(f"{output}: no committed answers here; expected annotations/*.parquet", missing=True)
    return catalogue


def _root(catalogue: Catalogue) -> str:
    recorded = runs.recorded(catalogue.output, catalogue.access, last=1)
    return recorded[0]["collection"] if recorded else ""
