"""The address that a server listens at, taken before anything slow starts."""

from __future__ import annotations

import socket

from tlg.errors import SpecError


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens; a free port is taken where `port` is 0."""
    is_ipv6 = ":" in host
    try:
        return socket.create_server(
            (host, port),
            family=socket.AF_INET6 if is_ipv6 else socket.AF_INET,
            dualstack_ipv6=is_ipv6 and socket.has_dualstack_ipv6(),
        )
    except OSError as error:
        text = error.strerror or error
        raise SpecError(f"cannot listen at {host}, port {port}: {text}; choose others with --host and --port") from None
