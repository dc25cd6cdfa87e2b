"""One writer at a time; a dead one is replaced, a late one finds out."""

import json
import os
import subprocess
import sys

import pyarrow as pa
import pytest

from jobs.output import lease as leases
from jobs.output.lease import Lease
from jobs.output.shards import ShardWriter, committed
from tlg import store
from tlg.answers import records
from tlg.answers.records import Answer, ImageAnswers, Provenance
from tlg.errors import LeaseHeldError


def rows(*uris: str) -> pa.Table:
    answer = Answer("fox", 1, "absent", 0.0, 0.0, 4, 4)
    return records.to_table([ImageAnswers(uri, "v1", [answer]) for uri in uris], Provenance("m", "e", "p", "r"))


def written_by_someone_else(output, **changes):
    """A lease of a process on another machine."""
    with Lease(output, "other"):
        uri = store.listed(f"{output}/_lease", "*.json")[-1].uri
        content = json.loads(store.read(uri))
    content |= {"machine": "elsewhere", "host": "elsewhere", "released": False}
    store.write(uri, json.dumps(content | changes).encode())


def test_a_second_run_is_refused_while_the_first_lives(tmp_path):
    refused = pytest.raises(LeaseHeldError, match=r"run first on .* is writing here; wait for it to end, stop it")
    with Lease(str(tmp_path), "first"), refused:
        Lease(str(tmp_path), "second").__enter__()
    with Lease(str(tmp_path), "second") as second:
        assert second.number == 2
        assert len(store.listed(f"{tmp_path}/_lease", "*.json")) == 1


def test_a_killed_holder_on_this_machine_is_replaced_at_once(tmp_path):
    script = f"from jobs.output.lease import Lease; import os, signal; Lease({str(tmp_path)!r}, 'dead').__enter__(); "
    subprocess.run(
        [sys.executable, "-c", script + "os.kill(os.getpid(), signal.SIGKILL)"], cwd=os.getcwd(), check=False
    )
    with Lease(str(tmp_path), "next") as next_one:
        assert next_one.number == 2


def test_a_silent_holder_elsewhere_is_watched_for_its_term(tmp_path):
    written_by_someone_else(str(tmp_path), term_seconds=0.3)
    with Lease(str(tmp_path), "next", term_seconds=0.3) as next_one:
        assert next_one.number == 2


def test_a_lease_long_past_its_end_is_not_watched(tmp_path, monkeypatch):
    written_by_someone_else(str(tmp_path), renewed_at=0.0, term_seconds=1e6)
    monkeypatch.setattr(leases.time, "time", lambda: 1e7)
    with Lease(str(tmp_path), "next") as next_one:
        assert next_one.number == 2


def test_a_late_writer_cannot_commit(tmp_path):
    output = str(tmp_path)
    late = Lease(output, "late").__enter__()
    store.create(f"{output}/_lease/00000002.json", late._content())
    with pytest.raises(LeaseHeldError, match="took over while this one was silent"):
        ShardWriter(output, late, 1).commit(rows("a"))
    assert not committed(output)
    late.__exit__()


def test_rows_of_a_late_writer_are_not_doubled(tmp_path):
    """Its last put may land between the new holder's look at the shards and the new holder's first commit."""
    output = str(tmp_path)
    with Lease(output, "new") as lease:
        writer = ShardWriter(output, lease, 1)
        assert ShardWriter(output, lease, 1).commit(rows("a", "b")) == 2
        assert writer.commit(rows("b", "c")) == 1
        assert [shard.number for shard in committed(output)] == [1, 2]
