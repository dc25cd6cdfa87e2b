"""Pictures are decoded in a process that can be killed: the same pixels, and nobody waits for ever."""

import io
import os
import signal

import numpy as np
import pytest
from PIL import Image

from jobs.flow import fetch
from tests.jobs import collection, odd_files
from tlg import exemplars, pictures, store
from tlg.errors import ClusterError, InputError, SpecError
from tlg.pictures import guarded

PLAIN = collection.picture(1)
CRASHING = """
import os, signal, socket, sys
connection = socket.socket(fileno=int(sys.argv[1]))
connection.sendall(b".")
connection.recv(1)
os.kill(os.getpid(), signal.SIGSEGV)
"""
CRASHING_AT_BMP = """
import os, signal, sys
sys.path[:] = sys.argv[2:]
from tlg.pictures import decoder_process, decoding
decode = decoding.decode
def crashing(content, *rest):
    if content.startswith(b"BM"):
        os.kill(os.getpid(), signal.SIGSEGV)
    return decode(content, *rest)
decoding.decode = crashing
decoder_process.main(int(sys.argv[1]))
"""


@pytest.fixture
def fresh(monkeypatch):
    """No process waits from before, and none of this test's stays."""
    monkeypatch.setattr(guarded, "_idle", idle := guarded.IdleProcesses())
    yield idle
    for process in idle._processes:
        process.end()


def outcome(read, content):
    try:
        found = read(content)
    except InputError as error:
        return error.kind, str(error)
    return (found.pixels.tolist(), found.height, found.width) if isinstance(found, pictures.Picture) else found.tolist()


def test_pixels_and_errors_are_those_of_the_plain_decoder(tmp_path):
    for name, expected in odd_files.write(tmp_path).items():
        if expected == "vanished":
            continue
        content = (tmp_path / name).read_bytes()
        assert outcome(pictures.guarded_decode, content) == outcome(pictures.decode, content), name
        assert outcome(pictures.guarded_decode_mask, content) == outcome(pictures.decode_mask, content), name


def test_a_picture_is_the_caller_s_own():
    first = pictures.guarded_decode(PLAIN)
    pixels = first.pixels.copy()
    pictures.guarded_decode(collection.picture(2))
    assert np.array_equal(first.pixels, pixels)
    assert first.pixels.flags.writeable


def test_one_process_decodes_picture_after_picture(fresh):
    for _ in range(3):
        pictures.guarded_decode(PLAIN)
        with pytest.raises(InputError):
            pictures.guarded_decode(b"nothing")
    assert len(fresh._processes) == 1


def test_a_picture_that_takes_too_long_is_given_up_and_its_process_killed(slow, fresh):
    pictures.guarded_decode(PLAIN)
    (process,) = fresh._processes
    with pytest.raises(InputError, match=r"not decoded within 0.2 s") as caught:
        pictures.guarded_decode(slow, seconds=0.2)
    assert caught.value.kind == "too_slow"
    assert process._process.returncode == -signal.SIGKILL
    assert pictures.guarded_decode(PLAIN).height == 40


def test_a_process_ends_by_itself_where_nobody_waits_for_it(slow, fresh, monkeypatch):
    # As where the asking process was killed: nobody ends the other, and the socket closes.
    monkeypatch.setattr(guarded.DecoderProcess, "end", lambda process: process._connection.close())
    pictures.guarded_decode(PLAIN)
    (process,) = fresh._processes
    with pytest.raises(InputError, match="not decoded"):
        pictures.guarded_decode(slow, seconds=0.1)
    assert process._process.wait() in (-signal.SIGALRM, 0)


def test_a_process_that_was_killed_costs_no_picture(fresh):
    pictures.guarded_decode(PLAIN)
    (process,) = fresh._processes
    os.kill(process._process.pid, signal.SIGKILL)
    process._process.wait()
    assert pictures.guarded_decode(PLAIN).height == 40


def test_a_picture_at_which_the_decoder_crashes_twice_is_refused(fresh, monkeypatch):
    monkeypatch.setattr(guarded, "PROGRAM", CRASHING)
    with pytest.raises(InputError, match="ended with SIGSEGV at this image") as caught:
        pictures.guarded_decode(PLAIN)
    assert caught.value.kind == "decoder_died"


def test_a_process_that_does_not_start_is_no_fault_of_the_picture(fresh, monkeypatch):
    monkeypatch.setattr(guarded, "PROGRAM", "pass")
    with pytest.raises(ClusterError, match="no process to decode pictures in started"):
        pictures.guarded_decode(PLAIN)


def test_processes_end_with_whoever_asks(fresh):
    pictures.guarded_decode(PLAIN)
    (process,) = fresh._processes
    process._connection.close()
    assert process._process.wait() == 0


def test_small_pictures_are_decoded_together_whatever_else_is_among_them(fresh):
    contents = [PLAIN, b"nothing", collection.picture(2)]
    first, refused, last = (result for result, _ in guarded.begin_to_decode(contents).outcomes())
    assert np.array_equal(first.pixels, pictures.decode(PLAIN).pixels)
    assert refused.kind == "not_an_image"
    assert np.array_equal(last.pixels, pictures.decode(contents[2]).pixels)
    assert len(fresh._processes) == 1


def test_pictures_that_do_not_fit_into_memory_together_are_decoded_one_after_the_other(fresh):
    large = io.BytesIO()
    Image.new("RGB", (3000, 2500), (9, 8, 7)).save(large, "PNG")
    outcomes = guarded.begin_to_decode([PLAIN, large.getvalue(), large.getvalue(), PLAIN]).outcomes()
    assert [result.height for result, _ in outcomes] == [40, 2500, 2500, 40]
    assert all(np.array_equal(result.pixels[0, 0], (9, 8, 7)) for result, _ in outcomes[1:3])
    assert len(fresh._processes) == 1


def test_a_picture_that_takes_too_long_costs_its_company_nothing(slow, fresh, monkeypatch):
    pictures.guarded_decode(PLAIN)
    monkeypatch.setattr(guarded, "SECONDS", 0.3)
    first, refused, last = (result for result, _ in guarded.begin_to_decode([PLAIN, slow, PLAIN]).outcomes())
    assert (first.height, refused.kind, last.height) == (40, "too_slow", 40)


def test_a_picture_that_crashes_the_decoder_costs_its_company_nothing(fresh, monkeypatch):
    monkeypatch.setattr(guarded, "PROGRAM", CRASHING_AT_BMP)
    bitmap = io.BytesIO()
    Image.new("RGB", (2, 2)).save(bitmap, "BMP")
    first, refused, last = (
        result for result, _ in guarded.begin_to_decode([PLAIN, bitmap.getvalue(), PLAIN]).outcomes()
    )
    assert (first.height, refused.kind, last.height) == (40, "decoder_died", 40)


def test_a_process_that_is_given_up_is_not_used_again(fresh):
    pictures.guarded_decode(PLAIN)
    (process,) = fresh._processes
    guarded.begin_to_decode([PLAIN]).give_up()
    assert process._process.returncode == -signal.SIGKILL
    assert not fresh._processes


def test_a_job_goes_on_after_a_picture_that_takes_too_long(slow, fresh, monkeypatch, tmp_path):
    for name, content in (("1.jpg", slow), ("2.png", PLAIN)):
        (tmp_path / name).write_bytes(content)
    pictures.guarded_decode(PLAIN)
    monkeypatch.setattr(guarded, "SECONDS", 0.5)
    rows = [
        {
            "position": number,
            "uri": str(tmp_path / name),
            "etag": None,
            "size": None,
            "labels": None,
            "put_off_at": None,
        }
        for number, name in enumerate(("1.jpg", "2.png"))
    ]
    slow_one, plain_one = fetch.Fetcher(None, store.DEFAULT_ACCESS, 10**8)._decoded(rows)
    assert (slow_one.error_type, plain_one.picture.height) == ("too_slow", 40)


def test_an_exemplar_that_takes_too_long_is_named(slow, fresh, monkeypatch, tmp_path):
    (tmp_path / "fox").mkdir()
    (tmp_path / "fox" / "1.jpg").write_bytes(slow)
    pictures.guarded_decode(PLAIN)
    monkeypatch.setattr(guarded, "SECONDS", 0.2)
    with pytest.raises(SpecError, match=r"class 'fox': exemplar .*1\.jpg cannot be used: the image was not decoded"):
        exemplars.load(str(tmp_path))
