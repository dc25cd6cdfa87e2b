"""Ports for servers that bind them later than they are chosen."""

from __future__ import annotations

import random
import socket
from pathlib import Path

# Ray's workers listen below this.
FIRST = 20_000
# Any connection that leaves this machine may be given a port from here on, also between the choice and the bind.
EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
USUAL_EPHEMERAL = (32_768, 60_999)

_given: set[int] = set()


def free_port() -> int:
    """A port that nobody is given by chance; another at every call."""
    first, last = map(int, EPHEMERAL.read_text().split()) if EPHEMERAL.exists() else USUAL_EPHEMERAL
    candidates = [port for port in (*range(FIRST, first), *range(last + 1, 65_536)) if port not in _given]
    for port in random.SystemRandom().sample(candidates, len(candidates)):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError(f"no free port from {FIRST} on beside those of {EPHEMERAL}, {first} to {last}")
