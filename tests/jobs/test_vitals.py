"""Whoever listens lives, who refuses is lost; real sockets."""

import socket

import pytest

from jobs.flow.vitals import RayLost, Vitals


def test_a_process_that_listens_is_there_until_it_goes():
    with socket.create_server(("127.0.0.1", 0)) as server:
        vitals = Vitals({"raylet": server.getsockname()})
        vitals.check()
    with pytest.raises(RayLost, match=r"raylet on this machine is gone .* run again to go on") as caught:
        vitals.check()
    assert caught.value.exit_code == 8


def test_a_process_that_is_too_busy_to_answer_is_there(monkeypatch):
    def busy(*_):
        raise TimeoutError

    monkeypatch.setattr(socket, "create_connection", busy)
    Vitals({"raylet": ("127.0.0.1", 1)}).check()
