"""What people said about answers: `review/verdicts-*.parquet`.

Whoever writes has files of their own, whose names nobody else uses, so that several people at once never overwrite
one another. A verdict names the answer it is about by a digest: one about an answer that was given again since is kept,
said, and not counted.
"""

from __future__ import annotations

import hashlib
import io
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tlg import store
from tlg.answers import records
from tlg.answers.scoring import RIGHT_IOU
from tlg.errors import InputError

log = logging.getLogger(__name__)

FOLDER = "review"
PATTERN = "verdicts-*.parquet"
# A file is written whole with every verdict; beyond so many another is begun.
PER_FILE = 200
# Takes back what the same person said of the same answer.
WITHDRAWN = "withdrawn"
OF_MASKS = ("right", "wrong", "mended", "not_there", WITHDRAWN)
OF_ABSENT = ("right", "missing", WITHDRAWN)
SCHEMA = pa.schema(
    [
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("class_name", pa.string()),
        ("answer", pa.string()),
        ("status", pa.string()),
        ("verdict", pa.string()),
        ("rle", records.SCHEMA.field("rle").type),
        ("iou", pa.float32()),
        ("reviewer", pa.string()),
        ("judged_at", pa.string()),
        ("source", pa.string()),
        ("run_id", pa.string()),
    ]
)


@dataclass(frozen=True)
class Verdict:
    """`rle` is the mask as a person mended or drew it, `iou` how much of the answer it leaves."""

    image_id: str
    image_uri: str
    class_name: str
    answer: str
    status: str
    verdict: str
    reviewer: str
    judged_at: str
    source: str
    run_id: str
    rle: records.Rle | None = None
    iou: float | None = None

    @property
    def is_there(self) -> bool:
        return self.verdict in (("right", "wrong", "mended") if self.status == "mask" else ("missing",))

    @property
    def is_right(self) -> bool:
        """A mask that needed little mending is right, as `tlg score` counts it."""
        return self.verdict == "right" or (self.verdict == "mended" and (self.iou or 0) >= RIGHT_IOU)


def answer_digest(row: Mapping[str, Any]) -> str:
    """Names one answer: the image's version, the class, the mask, and who answered."""
    counts = row["rle"]["counts"] if row["rle"] else ""
    parts = [row[name] or "" for name in ("image_id", "image_etag", "class_name", "status")]
    parts += [counts, *(row[name] or "" for name in ("model_digest", "exemplars_digest", "params_digest"))]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=12).hexdigest()


def judge(row: Mapping[str, Any], verdict: str, reviewer: str, source: str, mask: records.Rle | None = None) -> Verdict:
    """A verdict on an answer's row. Raises InputError where it does not fit the answer."""
    known = OF_MASKS if row["status"] == "mask" else OF_ABSENT
    if verdict not in known:
        raise InputError(f"verdict '{verdict}': the answer is '{row['status']}', expected one of {', '.join(known)}")
    if verdict == "mended" and mask is None:
        raise InputError("verdict 'mended' without a mask; send the mended mask, or say 'wrong'")
    if mask is not None and list(mask["size"]) != [row["height"], row["width"]]:
        height, width = mask["size"]
        raise InputError(f"the mask is {width}x{height} pixels, the picture {row['width']}x{row['height']}")
    shared = None if mask is None or row["rle"] is None else overlap(row["rle"], mask)
    if mask is not None and not records.decode_mask(mask).any():
        verdict, mask, shared = ("not_there" if row["status"] == "mask" else "right"), None, None
    return Verdict(
        *(row["image_id"], row["image_uri"], row["class_name"], answer_digest(row), row["status"], verdict),
        *(reviewer, now(), source, row["run_id"], mask, shared),
    )


def now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="microseconds")


def overlap(answered: records.Rle, mended: records.Rle) -> float:
    answer_HW, mask_HW = records.decode_mask(answered), records.decode_mask(mended)
    union = int((answer_HW | mask_HW).sum())
    return int((answer_HW & mask_HW).sum()) / union if union else 0.0


class VerdictFile:
    """One writer's verdicts. Each is in the store before `add` returns."""

    def __init__(self, output: str, access: store.Access = store.DEFAULT_ACCESS):
        self._folder, self._access = f"{output.rstrip('/')}/{FOLDER}", access
        self._verdicts: list[Verdict] = []
        self.uri = self._new_uri()

    def add(self, verdicts: Sequence[Verdict]) -> None:
        if len(self._verdicts) + len(verdicts) > PER_FILE and self._verdicts:
            self._verdicts, self.uri = [], self._new_uri()
        together = [*self._verdicts, *verdicts]
        table = pa.Table.from_pylist([_as_row(verdict) for verdict in together], SCHEMA)
        stream = io.BytesIO()
        pq.write_table(table, stream, compression="zstd", write_page_checksum=True)
        store.write(self.uri, stream.getvalue(), self._access)
        self._verdicts = together

    def _new_uri(self) -> str:
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S")
        return f"{self._folder}/verdicts-{stamp}-{secrets.token_hex(6)}.parquet"


def _as_row(verdict: Verdict) -> dict[str, Any]:
    return {field.name: getattr(verdict, field.name) for field in fields(verdict)}


def read(output: str, access: store.Access = store.DEFAULT_ACCESS) -> list[Verdict]:
    """Everything anybody said and did not take back, oldest first. A damaged file is said and left alone."""
    judged = []
    for entry in store.listed(f"{output.rstrip('/')}/{FOLDER}", PATTERN, access):
        try:
            content = io.BytesIO(store.read(entry.uri, access))
            rows = pq.read_table(content, schema=SCHEMA, page_checksum_verification=True).to_pylist()
            judged += [Verdict(**row) for row in rows]
        except (pa.ArrowException, OSError, TypeError) as error:
            log.warning("%s: damaged (%s); its verdicts do not count", entry.uri, " ".join(str(error).split()))
    return standing(sorted(judged, key=lambda verdict: verdict.judged_at))


def standing(said: Sequence[Verdict]) -> list[Verdict]:
    """Without what was taken back; `said` is oldest first."""
    withdrawn: set[tuple[str, str, str, str]] = set()
    left = []
    for verdict in reversed(said):
        key = (verdict.image_id, verdict.class_name, verdict.answer, verdict.reviewer)
        if verdict.verdict == WITHDRAWN:
            withdrawn.add(key)
        elif key not in withdrawn:
            left.append(verdict)
    return left[::-1]


@dataclass(frozen=True)
class Sorted:
    """Verdicts that hold, the last one about each answer; those of answers given again; answers judged differently."""

    hold: dict[tuple[str, str], Verdict]
    stale: list[Verdict]
    disputed: list[tuple[Verdict, Verdict]]


def sort(verdicts: Iterable[Verdict], answers: Mapping[tuple[str, str], str]) -> Sorted:
    """`answers` gives the digest of the answer that holds for an image and class."""
    by_person: dict[tuple[str, str], dict[str, Verdict]] = {}
    stale = []
    for verdict in verdicts:
        key = (verdict.image_id, verdict.class_name)
        if answers.get(key) != verdict.answer:
            stale.append(verdict)
            continue
        people = by_person.setdefault(key, {})
        people.pop(verdict.reviewer, None)
        people[verdict.reviewer] = verdict
    hold = {key: list(people.values())[-1] for key, people in by_person.items()}
    disputed = [
        (other, hold[key])
        for key, people in by_person.items()
        for other in people.values()
        if (other.is_right, other.is_there) != (hold[key].is_right, hold[key].is_there)
    ]
    return Sorted(hold, stale, disputed)
