"""Schemes x promises: what is not kept, and why. Everything else has a test of the promise's name."""

from __future__ import annotations

SCHEMES = ("file", "s3", "gs", "az", "hf", "sftp", "http")
# Where each promise is held; a test of that name runs for every scheme.
CELLS = {
    "list": "tests/store/test_matrix.py::test_list",
    "range": "tests/store/test_matrix.py::test_range",
    "exclusive create": "tests/store/test_matrix.py::test_exclusive_create",
    "kill": "tests/jobs/test_store_matrix.py::test_kill_and_two_writers",
    "two writers": "tests/jobs/test_store_matrix.py::test_kill_and_two_writers",
    "wrong secret": "tests/store/test_matrix.py::test_wrong_secret",
}
SERVERS = {
    "file": "a folder",
    "s3": "OpenStack Swift",
    "gs": "fake-gcs-server",
    "az": "Azurite",
    "hf": "a stand-in for the hub",
    "sftp": "asyncssh",
    "http": "Python's web server",
}
NO_OUTPUT = "holds no output"
NOT_HERE = {
    ("file", "wrong secret"): "files have rights, no secret",
    ("hf", "exclusive create"): "fsspec looks first and commits then; refused as an output",
    ("hf", "kill"): NO_OUTPUT,
    ("hf", "two writers"): NO_OUTPUT,
    ("sftp", "exclusive create"): "a file is there before its content is; refused as an output",
    ("sftp", "kill"): NO_OUTPUT,
    ("sftp", "two writers"): NO_OUTPUT,
    ("http", "list"): "the web lists nothing; `images.uri` is a list of addresses",
    ("http", "exclusive create"): "only read",
    ("http", "kill"): NO_OUTPUT,
    ("http", "two writers"): NO_OUTPUT,
    ("http", "wrong secret"): "addresses carry no secret",
}
