"""One writer at a time; a dead one is replaced, a late one finds out."""

import json
import os
import subprocess
import sys
import threading
import time

import pyarrow as pa
import pytest

from jobs.output import catalogue
from jobs.output import lease as leases
from jobs.output.lease import Lease
from jobs.output.shards import committed
from jobs.output.writer import ShardWriter
from tlg import store
from tlg.answers import records
from tlg.answers.records import Answer, ImageAnswers, Provenance
from tlg.errors import LeaseHeldError

RUN_ID = records.SCHEMA.names.index("run_id")


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


def beating(output, **changes):
    """A holder on another machine that gives its signs of life until the event is set."""
    written_by_someone_else(output, **changes)
    uri = store.listed(f"{output}/_lease", "*.json")[-1].uri
    content, ended = json.loads(store.read(uri)), threading.Event()

    def beat():
        while not ended.wait(0.02):
            content["beats"] += 1
            store.write(uri, json.dumps(content).encode())

    heart = threading.Thread(target=beat, daemon=True)
    heart.start()
    return ended, heart


def test_clocks_are_never_compared(tmp_path):
    """A living holder whose clock is years behind keeps its lease: it is watched like any other."""
    ended, heart = beating(str(tmp_path), renewed_at=0.0, term_seconds=20.0)
    with pytest.raises(LeaseHeldError, match="run other on elsewhere"):
        Lease(str(tmp_path), "next", term_seconds=0.3).__enter__()
    ended.set()
    heart.join()


def test_a_holder_that_hangs_on_this_machine_is_replaced(tmp_path):
    """Its process lives, but it has not renewed its lease for longer than its term."""
    with Lease(str(tmp_path), "hung"):
        uri = store.listed(f"{tmp_path}/_lease", "*.json")[-1].uri
        content = json.loads(store.read(uri)) | {"renewed_at": time.time() - 60, "term_seconds": 0.3}
        store.write(uri, json.dumps(content).encode())
        with Lease(str(tmp_path), "next", term_seconds=0.3) as next_one:
            assert next_one.number == 2


def test_a_dead_process_that_nobody_waited_for_holds_nothing(tmp_path):
    script = (
        f"from jobs.output.lease import Lease; import os; Lease({str(tmp_path)!r}, 'dead').__enter__(); os._exit(0)"
    )
    child = subprocess.Popen([sys.executable, "-c", script], cwd=os.getcwd())
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it has ended and stays in the list of processes
    with Lease(str(tmp_path), "next") as next_one:
        assert next_one.number == 2
    child.wait()


def test_the_end_of_a_killed_process_is_waited_for(tmp_path, monkeypatch):
    """Its memory is gone while the list of processes still has it as living."""
    with Lease(str(tmp_path), "killed"):
        state, looks = leases._process_state(os.getpid()), []

        def ending_then_gone(pid):
            looks.append(pid)
            going = [*state[:6], str(int(state[6]) | leases.PF_EXITING), *state[7:]]
            return going if len(looks) < 10 else ["Z", *going[1:]]

        monkeypatch.setattr(leases, "_process_state", ending_then_gone)
        with Lease(str(tmp_path), "next", term_seconds=20.0) as next_one:
            assert next_one.number == 2
        monkeypatch.undo()


@pytest.mark.parametrize("content", [b"", b'{"number": 1, "run', b"[]"], ids=["empty", "cut", "another kind"])
def test_a_lease_file_cut_short_is_watched_and_replaced(tmp_path, content, monkeypatch):
    monkeypatch.setitem(leases.UNKNOWN, "term_seconds", 0.2)
    store.write(f"{tmp_path}/_lease/00000001.json", content)
    store.write(f"{tmp_path}/_lease/notes.json", b"somebody's notes")
    with Lease(str(tmp_path), "next", term_seconds=0.2) as next_one:
        assert next_one.number == 2
    assert (tmp_path / "_lease" / "notes.json").exists()


def test_two_holders_of_one_number_are_told_apart(tmp_path, monkeypatch):
    """Where puts are not conditional two may create the same file; who is in it holds the lease."""
    output = str(tmp_path)
    first = Lease(output, "first").__enter__()
    monkeypatch.setattr(
        Lease, "_newest", lambda self, *access, look=Lease._newest: look(self, *access) if self.number else None
    )
    monkeypatch.setattr(store, "create", lambda uri, content, access: store.write(uri, content, access) or True)
    second = Lease(output, "second").__enter__()
    assert first.number == second.number == 1
    second.confirm()
    with pytest.raises(LeaseHeldError, match="run second took over"):
        first.confirm()
    second.__exit__()
    first.__exit__()


def test_a_lost_answer_to_our_own_put_is_no_other_run(tmp_path, monkeypatch):
    create = store.create
    monkeypatch.setattr(store, "create", lambda *given: create(*given) and False)
    with Lease(str(tmp_path), "ours") as lease:
        assert lease.number == 1
        writer = ShardWriter(catalogue.load(str(tmp_path)), lease)
        ours = rows("a", "b").set_column(RUN_ID, "run_id", pa.array(["ours", "ours"]))
        assert writer.commit(ours) == 2
    assert [shard.number for shard in committed(str(tmp_path))] == [1]


def test_a_number_that_was_free_again_is_no_lease(tmp_path, monkeypatch):
    """A stale look at the folder makes an old number; the newer file there decides."""
    with Lease(str(tmp_path), "first"):
        pass
    with Lease(str(tmp_path), "second") as second:
        assert second.number == 2
        looks = iter([None])
        look = Lease._newest
        monkeypatch.setattr(Lease, "_newest", lambda self, *access: look(self, *access) if self.number else next(looks))
        with pytest.raises(LeaseHeldError, match="another run has just started"):
            Lease(str(tmp_path), "stale").__enter__()
        second.confirm()


def test_the_heart_goes_on_after_any_failure(tmp_path, monkeypatch):
    failed = threading.Event()
    write = store.write

    def fails_once(uri, content, access=store.DEFAULT_ACCESS):
        if not failed.is_set():
            failed.set()
            raise ValueError("something unheard of")
        write(uri, content, access)

    with Lease(str(tmp_path), "run", term_seconds=0.06) as lease:
        before = lease._newest()["beats"]
        monkeypatch.setattr(store, "write", fails_once)
        deadline = time.monotonic() + 20
        while lease._newest()["beats"] == before and time.monotonic() < deadline:
            failed.wait(0.01)
        assert failed.is_set()
        assert lease._newest()["beats"] > before


def test_a_late_writer_cannot_commit(tmp_path):
    output = str(tmp_path)
    late = Lease(output, "late").__enter__()
    store.create(f"{output}/_lease/00000002.json", late._content())
    with pytest.raises(LeaseHeldError, match="took over while this one was silent"):
        ShardWriter(catalogue.load(output), late).commit(rows("a"))
    assert not committed(output)
    late.__exit__()


def test_rows_of_a_late_writer_are_not_doubled(tmp_path):
    """Its last put may land between the new holder's look at the shards and the new holder's first commit."""
    output = str(tmp_path)
    with Lease(output, "new") as lease:
        writer = ShardWriter(catalogue.load(output), lease)
        assert ShardWriter(catalogue.load(output), lease).commit(rows("a", "b")) == 2
        assert writer.commit(rows("b", "c")) == 1
        assert [shard.number for shard in committed(output)] == [1, 2]


def test_a_sign_of_life_waits_for_its_store_no_longer_than_a_third_of_the_term(tmp_path, monkeypatch):
    patience, written = [], threading.Event()
    write = store.write

    def noted(uri, content, access):
        if threading.current_thread() is not threading.main_thread():
            patience.append(access.patience_seconds)
            written.set()
        write(uri, content, access)

    monkeypatch.setattr(store, "write", noted)
    with Lease(str(tmp_path), "first", term_seconds=0.3):
        assert written.wait(60)
    assert patience == pytest.approx([0.1] * len(patience))
