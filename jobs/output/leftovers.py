"""What killed runs and full disks leave in an output, and how it goes."""

from __future__ import annotations

import re

from tlg import store
from tlg.errors import StorageError

WORK_FOLDER = "_work"
# A file is written beside its place under such a name, then moved there.
ASIDE = re.compile(r"\..+\.[0-9a-f]{32}")


def work_folder(output: str, lease_number: int) -> str:
    """Where a run notes what it has to do. Numbers of leases grow, so what is older is known without a clock."""
    return f"{output.rstrip('/')}/{WORK_FOLDER}/{lease_number:08d}"


def remove_older_work(output: str, lease_number: int, access: store.Access) -> None:
    """Work folders of runs before this one; the caller has confirmed its lease."""
    base = f"{output.rstrip('/')}/{WORK_FOLDER}"
    names = {entry.uri.removeprefix(f"{base}/").split("/")[0] for entry in store.listed(base, "**/*", access)}
    for name in names:
        if not re.fullmatch(r"\d{8,}", name) or int(name) < lease_number:
            store.delete_folder(f"{base}/{name}", access)


def remove_work(output: str, lease_number: int, access: store.Access) -> None:
    """This run's own, what a killed run's workers wrote since it began, and the folder around where it is empty."""
    base = f"{output.rstrip('/')}/{WORK_FOLDER}"
    store.delete_folder(work_folder(output, lease_number), access)
    remove_older_work(output, lease_number, access)
    if not store.listed(base, "**/*", access):
        store.delete_folder(base, access)


def sweep_temporaries(output: str, access: store.Access) -> int:
    """Files beside their place that a full disk or a kill left on local disks; returns how many went."""
    if store.scheme(output) != "file":
        return 0  # other stores show whole objects only
    temporaries = [
        entry.uri for entry in store.listed(output, "**/.*", access) if ASIDE.fullmatch(entry.uri.rsplit("/", 1)[1])
    ]
    for uri in temporaries:
        delete_if_there(uri, access)
    return len(temporaries)


def delete_if_there(uri: str, access: store.Access) -> None:
    try:
        store.delete(uri, access)
    except StorageError as error:
        if not error.missing:
            raise
