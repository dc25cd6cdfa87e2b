"""`tlg status`: the last runs of an output, the one running now, and what failed."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timezone
from typing import Any

import numpy as np

from jobs.output import catalogue as catalogues
from jobs.output import departed, runs
from jobs.output.runs import duration, pace
from tlg import store
from tlg.errors import StorageError

# A run writes its record every few seconds; silence for so long means that it is gone.
SILENT_SECONDS = 120


def status(output: str, access: store.Access = store.DEFAULT_ACCESS) -> list[str]:
    recorded = runs.recorded(output, access)
    if not recorded:
        raise StorageError(f"{output}: no runs recorded here; expected {runs.FOLDER}/*.json", missing=True)
    return [line(run) for run in recorded] + _answers(output, access)


def line(run: dict[str, Any]) -> str:
    """How far a recorded run is."""
    state = run["state"]
    silent = (datetime.now(timezone.utc) - datetime.fromisoformat(run["updated_at"])).total_seconds()
    if state == "running" and silent > SILENT_SECONDS:
        state = f"silent for {duration(silent)}; run the job again to go on"
    text = f"{run['run_id']}  {state}: {run['done']:,} of {run['images']:,} images in {duration(run['seconds'])}"
    text += f", {run['masks']:,} masks, {run['errors']:,} errors"
    if run["state"] == "running" and run["seconds_left"] is not None:
        text += f", {pace(run['images_per_second'])}, about {duration(run['seconds_left'])} left"
    return text + (f"\n    {run['message']}" if run["message"] else "")


def _answers(output: str, access: store.Access) -> list[str]:
    catalogue = catalogues.load(output, access)
    masks = absent = 0
    failures: Counter[str] = Counter()
    for index in catalogue.shards:
        holds = catalogue.holds(index)
        masks += int(index.masks[holds].sum())
        absent += int(index.absent[holds].sum())
        for code, count in zip(*np.unique(index.error_type[holds & index.is_error], return_counts=True), strict=True):
            failures[index.error_types[code]] += int(count)
    images = catalogue.image_count()
    lines = [f"{images:,} images answered: {masks:,} masks, {absent:,} absent"]
    lines += [f"  {count:,} failed: {kind}" for kind, count in failures.most_common()]
    gone = images - catalogue.leaving_out(departed.read(output, access)).image_count()
    if gone:
        lines.append(
            f"  {gone:,} of them have left the collection; `tlg prune` removes their answers, "
            "`tlg export --listed-only` leaves them out"
        )
    return lines
