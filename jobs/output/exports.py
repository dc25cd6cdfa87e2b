"""The formats that are made from the committed answers: by a job as it ends, or later by `tlg export`."""

from __future__ import annotations

from jobs.output import catalogue as catalogues
from jobs.output import departed, index, lease, quarantine, report, runs, shards
from jobs.output import marker as markers
from jobs.output.catalogue import Catalogue
from jobs.output.formats import registry
from jobs.output.leftovers import WORK_FOLDER
from jobs.output.selection import EVERYTHING, Exported, Filter, Selection
from tlg import store
from tlg.answers.formats import coco
from tlg.errors import SpecError, StorageError
from tlg.spec import AnnotateSpec

# Folders of an output that a run's own work rests on: no export may write there.
OWN_FOLDERS = (shards.FOLDER, index.FOLDER, lease.FOLDER, markers.FOLDER, runs.FOLDER, quarantine.FOLDER, WORK_FOLDER)


def check(spec: AnnotateSpec) -> None:
    """Whether every format can be loaded: better known before a job than after it."""
    for name in spec.output.formats:
        registry.load(name)


def write(spec: AnnotateSpec, summary: runs.RunSummary, catalogue: Catalogue) -> list[str]:
    """The formats a spec asks for, and the report: what has changed since they were written; returns what was."""
    answers = Selection(catalogue, catalogue.output, EVERYTHING, spec.output.masks, summary.collection, spec.name)
    written = [uri for name in spec.output.formats for uri in registry.load(name).update(answers, name).uris]
    return written + report.update(catalogue, summary, spec.run.min_score, spec.run.price_per_hour)


def export(
    output: str,
    name: str,
    to: str,
    access: store.Access = store.DEFAULT_ACCESS,
    chosen: Filter = EVERYTHING,
    masks: coco.Masks = "rle",
    listed_only: bool = False,
) -> Exported:
    """Write one format from the committed answers into a folder. `listed_only` leaves out departed images."""
    wanted = registry.load(name)
    output, base = output.rstrip("/"), to.rstrip("/")
    _check_target(output, base)
    catalogue = catalogues.load(output, access)
    if not catalogue.shards:
        raise StorageError(f"{output}: no committed answers here; expected {shards.FOLDER}/*.parquet", missing=True)
    chosen.check(catalogue)
    if listed_only:
        catalogue = catalogue.leaving_out(departed.read(output, access))
    if base == output:
        markers.remove(output, name, access)  # the next run writes its own again
    recorded = runs.recorded(output, access, last=1)
    root, job = (recorded[0]["collection"], recorded[0]["name"]) if recorded else ("", Selection.name)
    return wanted.write(Selection(catalogue, base, chosen, masks, root, job))


def as_masks(text: str) -> coco.Masks:
    if text == "rle":
        return "rle"
    if text == "polygon":
        return "polygon"
    raise SpecError(f"masks '{text}' is unknown; expected rle or polygon")


def _check_target(output: str, base: str) -> None:
    """No export may overwrite the committed answers."""
    for folder in OWN_FOLDERS:
        own = f"{output}/{folder}"
        if base == own or base.startswith(f"{own}/"):
            raise SpecError(f"--to {base}: the output keeps its own files there; choose a folder outside {own}")
