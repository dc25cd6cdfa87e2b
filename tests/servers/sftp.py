"""An SFTP server for tests: asyncssh in an environment of its own, with one user and one folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from tests.servers.environments import environment
from tests.servers.ports import free_port
from tests.servers.program import listening

REQUIREMENTS = ("asyncssh==2.24.1",)
USER, PASSWORD = "annotators", "correct-horse"
SERVER = """
import asyncio, sys
import asyncssh

folder, port, user, password = sys.argv[1:]


class Door(asyncssh.SSHServer):
    def begin_auth(self, username):
        return True

    def password_auth_supported(self):
        return True

    def validate_password(self, username, given):
        return (username, given) == (user, password)


async def serve():
    key = asyncssh.generate_private_key("ssh-ed25519")
    await asyncssh.listen("127.0.0.1", int(port), server_factory=Door, server_host_keys=[key],
                          sftp_factory=lambda channel: asyncssh.SFTPServer(channel, chroot=folder))
    await asyncio.Event().wait()


asyncio.run(serve())
"""


@contextlib.contextmanager
def sftp() -> Iterator[tuple[str, dict[str, str]]]:
    """The store's root, and what a user's environment holds to reach it."""
    python = environment("asyncssh", REQUIREMENTS) / "python"
    port = free_port()

    def command(folder: Path) -> list[str | Path]:
        (folder / "root").mkdir()
        return [python, "-c", SERVER, folder / "root", str(port), USER, PASSWORD]

    with listening(command, port):
        yield (
            f"sftp://127.0.0.1:{port}/traps",
            {"FSSPEC_SFTP_USERNAME": USER, "FSSPEC_SFTP_PASSWORD": PASSWORD},
        )
