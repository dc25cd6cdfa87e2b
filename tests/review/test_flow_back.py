"""Corrections and the next run: what was answered with the set is answered again, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.annotate import annotate
from jobs.commands import exemplars as adding
from jobs.commands import review as reviewing
from jobs.review import verdicts
from jobs.review.session import Session
from tests.jobs import collection
from tlg.answers.records import decode_mask, encode_mask

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("local_ray")]


def test_the_next_run_answers_again_what_was_answered_with_the_set(tmp_path: Path, exemplar_folder: Path) -> None:
    images = collection.write(tmp_path / "images", 12)
    (images / "0" / "bad.png").write_bytes(b"no picture")
    spec = collection.spec(str(images), exemplar_folder, str(tmp_path / "out"), run={"max_error_rate": 0.5})
    assert annotate(spec).errors == 1
    session = Session(spec.output.uri, 3)
    for image_id, picture in session.pictures.items():
        row = next(row for row in picture.rows if row["status"] == "mask")
        mask = session_mask(row)
        said = (row["class_name"], verdicts.answer_digest(row), "mended", mask)
        session.judge(image_id, "Ann", [said])
    assert annotate(spec).images == 0, "a verdict alone changes no answer"
    first = next(iter(adding.add(str(exemplar_folder), spec.output.uri)))
    assert "3 exemplars added, 3 of them with a mask" in first
    again = annotate(spec)
    assert (again.images, again.replaced) == (12, 12), "what is no picture does not depend on exemplars"
    told = list(reviewing.told(spec.output.uri))
    assert any("given again since" in line for line in told)
    assert told[0].startswith("0 of 12 pictures reviewed")
    list(adding.add(str(exemplar_folder), spec.output.uri))
    assert annotate(spec).images == 0, "corrections that are in the set already change nothing"
    (images / "0" / "new.png").write_bytes(collection.picture(100))
    assert annotate(spec).images == 1


def session_mask(row):
    """The answer without its upper half."""
    mask = decode_mask(row["rle"])
    mask[: len(mask) // 2] = False
    mask[-1, -1] = True
    return encode_mask(mask)
