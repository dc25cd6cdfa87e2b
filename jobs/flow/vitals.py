"""Whether the processes of Ray that a run stands on are there, asked where they listen.

Ray tells late or never: a driver waits for ever for a raylet that was killed, and a minute after the GCS went Ray ends
the driver's process.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field

from tlg.errors import ClusterError

CONNECT_SECONDS = 5.0
Address = tuple[str, int]


class RayLost(ClusterError):
    """A process of Ray without which nothing more will come."""


@dataclass(frozen=True)
class Vitals:
    """Where the processes listen, by name; nowhere if that is not known."""

    addresses: Mapping[str, Address] = field(default_factory=dict)

    def check(self) -> None:
        """Raises RayLost. What is merely slow is there."""
        for name, address in self.addresses.items():
            if _is_refused(address):
                raise RayLost(
                    f"Ray's {name} on this machine is gone (killed, or out of memory); "
                    "what is committed stays, run again to go on"
                )


def of_this_driver(is_own: bool) -> Vitals:
    """Of the Ray that is connected. Only the GCS of a Ray of our own is asked: a cluster may start its own again."""
    import ray

    context = ray.get_runtime_context()
    addresses: dict[str, Address] = {}
    for node in ray.nodes():
        if node["NodeID"] == context.get_node_id():
            addresses["raylet"] = (node["NodeManagerAddress"], node["NodeManagerPort"])
    if is_own:
        host, _, port = context.gcs_address.rpartition(":")
        addresses["GCS"] = (host.strip("[]"), int(port))
    return Vitals(addresses)


def _is_refused(address: Address) -> bool:
    """Whether nobody listens there, which is what a killed process leaves behind."""
    try:
        socket.create_connection(address, CONNECT_SECONDS).close()
    except ConnectionRefusedError:
        return True
    except OSError:  # busy, or short of sockets
        return False
    return False
