"""Rows that lie aside become shards whole, once, and only those that were chosen; what is cut short does no harm."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from jobs.flow.segment import TRACE_SCHEMA
from jobs.output import catalogue, index, shards
from jobs.output.aside import Aside, Taken, put_together
from jobs.output.identity import NumberSet
from jobs.output.lease import Lease
from jobs.output.writer import ShardWriter
from jobs.receiver import AsideRows
from tlg import store
from tlg.answers import records
from tlg.answers.records import ImageAnswers, Provenance

MASK = np.eye(5, dtype=bool)
NAMES = ("a.jpg", "b.jpg", "c.jpg", "later.jpg")


@pytest.fixture
def out(tmp_path):
    return str(tmp_path / "out")


@pytest.fixture
def aside(tmp_path):
    return Aside(str(tmp_path / "out" / "_work" / "00000001" / "aside"), store.DEFAULT_ACCESS)


def answers(run_id="r1"):
    """Three images of two classes, one of which failed, and one that was put off."""
    images = [
        ImageAnswers("a.jpg", "1", [records.answer_from_mask(name, at, MASK, 0.9, 0.9, 0.5) for at, name in CLASSES]),
        ImageAnswers("b.jpg", "1", (), "empty", "0 bytes"),
        ImageAnswers("c.jpg", "1", [records.answer_from_mask(name, at, MASK, 0.1, 0.9, 0.5) for at, name in CLASSES]),
        ImageAnswers("later.jpg", "1", (), "unreachable", "no answer"),
    ]
    table = records.to_table(images, Provenance("m", "e", "p", run_id))
    position, rows = [7, 7, 8, 9, 9, 10], [2, 2, 1, 2, 2, 1]
    trace = {"position": position, "rows": rows, "deferred": [False] * 5 + [True]}
    trace |= {name: [0.5] * 6 for name in TRACE_SCHEMA.names if name.endswith("_seconds")}
    for field in TRACE_SCHEMA:
        table = table.append_column(field, pa.array(trace[field.name], field.type))
    return table


CLASSES = [(1, "fox"), (2, "hare")]


def taken(aside, receipts, *names):
    chosen = receipts.filter(pa.array([name in names for name in receipts["uri"].to_pylist()]))
    uri = f"{aside.folder}/{chosen['aside'][0].as_py()}"
    return Taken(uri, np.sort(chosen["number"].to_numpy()), chosen["together"][0].as_py() == len(chosen))


def uris(out):
    return [
        uri for shard in shards.committed(out) for uri in shards.read(shard, ["image_uri"])["image_uri"].to_pylist()
    ]


def test_a_receipt_tells_all_that_the_driver_needs(aside):
    receipts = aside.put(answers()).to_pylist()
    assert [(one["position"], one["uri"], one["deferred"]) for one in receipts] == list(
        zip([7, 8, 9, 10], NAMES, [False] * 3 + [True], strict=True)
    )
    assert [(one["rows"], one["masks"], one["absent"], one["error_type"]) for one in receipts[:3]] == [
        (2, 2, 0, None),
        (1, 0, 0, "empty"),
        (2, 0, 2, None),
    ]
    assert {one["together"] for one in receipts} == {3}
    assert [one["aside"] is None for one in receipts] == [False] * 3 + [True]
    assert all(one["bytes"] > 0 for one in receipts)


def test_nothing_is_written_aside_where_nothing_was_had(aside):
    receipts = aside.put(answers().slice(5))
    assert receipts["aside"].to_pylist() == [None]
    assert not Path(aside.folder).exists()


def test_only_the_chosen_images_become_a_shard(out, aside):
    receipts = aside.put(answers())
    made = put_together([taken(aside, receipts, "a.jpg", "c.jpg")], out, 1, NumberSet(), store.DEFAULT_ACCESS)
    assert sorted(set(uris(out))) == ["a.jpg", "c.jpg"]
    assert (made.rows, len(made.numbers)) == (4, 2)
    assert index.read(out, made.shard, store.DEFAULT_ACCESS).rows == 4
    # The file stays for what it still holds, and goes with the rest.
    assert put_together([taken(aside, receipts, "b.jpg")], out, 2, NumberSet(), store.DEFAULT_ACCESS).rows == 1
    assert len(list(Path(aside.folder).iterdir())) == 1
    whole = aside.put(answers("r2"))
    put_together([taken(aside, whole, *NAMES[:3])], out, 3, NumberSet(), store.DEFAULT_ACCESS)
    assert len(list(Path(aside.folder).iterdir())) == 1


def test_a_commit_that_is_repeated_after_its_worker_died_counts_once(out, aside):
    """Ray repeats a task whose worker died; the driver hears that the number is taken, and by whom."""
    receipts = aside.put(answers())
    rows = AsideRows([taken(aside, receipts, *NAMES[:3])], Twice())
    with Lease(out, "r1") as lease:
        writer = ShardWriter(catalogue.load(out), lease)
        assert writer.commit(rows) == 5
    assert len(uris(out)) == 5
    assert writer.catalogue.image_count() == 3


class Twice:
    """An executor whose worker dies when all is done but the answer."""

    def call(self, action, *arguments):
        action(*arguments)
        return action(*arguments)


def test_images_that_a_late_writer_has_committed_are_left_out(out, aside):
    receipts = aside.put(answers())
    with Lease(out, "r1") as lease:
        writer = ShardWriter(catalogue.load(out), lease)
        late = Aside(f"{out}/_work/0/aside", store.DEFAULT_ACCESS)
        put_together([taken(late, late.put(answers("late")), "a.jpg")], out, 1, NumberSet(), store.DEFAULT_ACCESS)
        assert writer.commit(AsideRows([taken(aside, receipts, *NAMES[:3])], Here())) == 3
    assert sorted(uris(out)) == ["a.jpg", "a.jpg", "b.jpg", "c.jpg", "c.jpg"]


class Here:
    def call(self, action, *arguments):
        return action(*arguments)
