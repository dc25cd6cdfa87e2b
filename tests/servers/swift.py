"""A real S3 store for tests: OpenStack Swift with its S3 API on loopback, in an environment of its own.

Swift's dependencies clash with the product's.
"""

from __future__ import annotations

import getpass
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import httpx

from tests.servers.environments import Unavailable, environment
from tests.servers.ports import free_port

REQUIREMENTS = ("swift==2.38.0", "setuptools<81")
ACCESS_KEY = "annotators:nightly"
SECRET_KEY = "correct-horse-battery-staple"
START_SECONDS = 60
# Swift's servers give one another half a second, and a listing that is late by a second is left to a daemon that does
# not run here: on a busy machine a store would fail, or forget what it was given.
SECONDS = 60
PATIENCE = f"conn_timeout = {SECONDS}\nnode_timeout = {SECONDS}\n"
WRITE_RINGS = """
import sys
from swift.common.ring import RingBuilder
for name, port in zip(("object", "container", "account"), map(int, sys.argv[2:])):
    ring = RingBuilder(2, 1, 1)
    ring.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1",
                  "replication_port": port, "device": "disk", "weight": 1.0, "meta": ""})
    ring.rebalance()
    ring.get_ring().save(f"{sys.argv[1]}/{name}.ring.gz")
"""
FILTERS = """
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
location = us-east-1
dns_compliant_bucket_names = false
allow_no_owner = true
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:symlink]
use = egg:swift#symlink
"""


class Swift:
    """`with Swift() as swift`: an S3 endpoint at `swift.endpoint` that knows one pair of keys."""

    def __enter__(self) -> Swift:
        binaries = environment("swift", REQUIREMENTS)
        self._folder = Path(tempfile.mkdtemp(prefix="swift"))
        (self._folder / "srv" / "disk").mkdir(parents=True)
        ports = [free_port() for _ in range(4)]
        self.endpoint = f"http://127.0.0.1:{ports[0]}"
        self._configure(ports)
        subprocess.run(
            [binaries / "python", "-I", "-c", WRITE_RINGS, self._folder, *map(str, ports[1:])],
            check=True,
            capture_output=True,
        )
        self._log = (self._folder / "log").open("wb")
        self._processes = [
            subprocess.Popen(
                [binaries / f"swift-{name}-server", self._folder / f"{name}.conf"],
                env={"PATH": os.environ["PATH"], "SWIFT_TEST": "1"},
                stdout=self._log,
                stderr=self._log,
            )
            for name in ("object", "container", "account", "proxy")
        ]
        self._wait_until_it_answers()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
        self._log.close()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _configure(self, ports: list[int]) -> None:
        (self._folder / "swift.conf").write_text(
            "[swift-hash]\nswift_hash_path_suffix = tests\n[storage-policy:0]\nname = one\ndefault = yes\n"
        )
        user = getpass.getuser()
        common = (
            f"user = {user}\nswift_dir = {self._folder}\ndevices = {self._folder}/srv\nmount_check = false\n"
            "disable_fallocate = true\nworkers = 0\nlog_level = ERROR\nbind_ip = 127.0.0.1\n"
        )
        account, name = ACCESS_KEY.split(":")
        (self._folder / "proxy.conf").write_text(
            f"[DEFAULT]\nbind_port = {ports[0]}\n{common}"
            "[pipeline:main]\npipeline = catch_errors cache listing_formats bulk s3api tempauth slo dlo symlink "
            "proxy-server\n[app:proxy-server]\nuse = egg:swift#proxy\nallow_account_management = true\n"
            f"account_autocreate = true\n{PATIENCE}recoverable_node_timeout = {SECONDS}\n{FILTERS}"
            f"[filter:tempauth]\nuse = egg:swift#tempauth\nuser_{account}_{name} = {SECRET_KEY} .admin\n"
        )
        for server, port in zip(("object", "container", "account"), ports[1:], strict=True):
            (self._folder / f"{server}.conf").write_text(
                f"[DEFAULT]\nbind_port = {port}\n{common}"
                f"[pipeline:main]\npipeline = {server}-server\n[app:{server}-server]\nuse = egg:swift#{server}\n"
                f"{PATIENCE}container_update_timeout = {SECONDS}\n"
            )

    def _wait_until_it_answers(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            if any(process.poll() is not None for process in self._processes):
                break
            try:
                httpx.get(self.endpoint, timeout=2)
                return
            except httpx.TransportError:
                time.sleep(0.1)
        log = (self._folder / "log").read_text()[-2000:]
        self.__exit__()
        raise Unavailable(f"Swift did not start: {log}")
