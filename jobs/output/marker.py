"""`_outputs/<name>.json`: what an output file was made from, written last.

A run that is killed while it writes COCO or a report leaves no marker that fits, so the next run makes them again; a
run that finds a marker that fits leaves them alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.output.leftovers import delete_if_there
from tlg import store
from tlg.errors import StorageError

FOLDER = "_outputs"


@dataclass(frozen=True)
class Marker:
    """`state` is the catalogue's fingerprint, `settings` a digest of the settings; `made` is the format's own."""

    state: str
    settings: str
    made: dict[str, Any]

    # An output from an earlier version has "asked" for `settings` in its files; the name there stays.
    def write(self, output: str, name: str, access: store.Access) -> None:
        content = json.dumps({"state": self.state, "asked": self.settings, "made": self.made})
        store.write(_uri(output, name), content.encode(), access)


def read(output: str, name: str, access: store.Access) -> Marker | None:
    """None where there is none, or none that can be read: then everything is made anew."""
    try:
        content = json.loads(store.read(_uri(output, name), access))
        return Marker(str(content["state"]), str(content["asked"]), dict(content["made"]))
    except StorageError as error:
        if not error.missing:
            raise
    except (ValueError, KeyError, TypeError):
        pass
    return None


def remove(output: str, name: str, access: store.Access) -> None:
    delete_if_there(_uri(output, name), access)


def digest(settings: Mapping[str, Any]) -> str:
    return hashlib.blake2b(json.dumps(settings, sort_keys=True).encode(), digest_size=16).hexdigest()


def _uri(output: str, name: str) -> str:
    return f"{output.rstrip('/')}/{FOLDER}/{name}.json"
