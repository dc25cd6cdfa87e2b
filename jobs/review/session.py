"""What `tlg review` shows and keeps: a sample, the verdicts on it, and this writer's file."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from jobs.output import catalogue as catalogues
from jobs.review import figures, sample, verdicts
from jobs.review.sample import SampledPicture
from jobs.review.verdicts import Verdict, VerdictFile
from tlg import store
from tlg.answers.records import Rle
from tlg.errors import InputError

# Verdicts of other servers are looked for this often; those of this one are known at once.
REFRESH_SECONDS = 10.0


class Session:
    """Safe to use from several threads. A restart begins where the last one ended: the verdicts are in the output."""

    def __init__(self, output: str, pictures: int, access: store.Access = store.DEFAULT_ACCESS):
        self.catalogue = catalogues.load(output.rstrip("/"), access)
        self.access = access
        shown = sample.drawn(self.catalogue, pictures)
        self.pictures: dict[str, SampledPicture] = {picture.image_id: picture for picture in shown}
        self._answers = {
            (row["image_id"], row["class_name"]): verdicts.answer_digest(row)
            for picture in shown
            for row in picture.rows
        }
        self._file = VerdictFile(self.catalogue.output, access)
        self._lock = threading.Lock()
        self._said = verdicts.read(self.catalogue.output, access)
        self._read_at = time.monotonic()

    def holding(self) -> dict[tuple[str, str], Verdict]:
        """The verdicts on the pictures shown, by image and class, those of others who review at the same time too."""
        with self._lock:
            return verdicts.sort(self._said, self._answers).hold

    def refresh(self, seconds: float = REFRESH_SECONDS) -> None:
        """Hear what was said through other servers, where nobody has asked for so long."""
        with self._lock:
            if time.monotonic() - self._read_at < seconds:
                return
            self._said = verdicts.read(self.catalogue.output, self.access)
            self._read_at = time.monotonic()

    def picture(self, image_id: str) -> SampledPicture:
        try:
            return self.pictures[image_id]
        except KeyError:
            raise InputError(f"picture '{image_id}' is not in the sample of {len(self.pictures)} pictures") from None

    def judge(self, image_id: str, reviewer: str, said: Sequence[tuple[str, str, str, Rle | None]]) -> list[Verdict]:
        """Keep some verdicts on a picture: (class name, digest of the answer, verdict, mask). All of them or none.

        Returns what others said differently about the same answers before.
        """
        rows = {row["class_name"]: row for row in self.picture(image_id).rows}
        made = []
        for class_name, answer, verdict, mask in said:
            row = rows.get(class_name)
            if row is None:
                raise InputError(f"class '{class_name}' was not asked of this picture; it has {', '.join(rows)}")
            if verdicts.answer_digest(row) != answer:
                raise InputError(f"{class_name}: the answer was given again since it was shown; load the page again")
            made.append(verdicts.judge(row, verdict, reviewer, "page", mask))
        before = self.holding()
        with self._lock:
            self._file.add(made)
            self._said = verdicts.standing([*self._said, *made])
        return [
            other
            for verdict in made
            if (other := before.get((verdict.image_id, verdict.class_name))) is not None
            and other.reviewer != reviewer
            and other.verdict != verdict.verdict
        ]

    def figures(self) -> dict[str, Any]:
        return figures.figures(self.catalogue)
