"""Scheme -> store. Installed packages add theirs under the entry point `tlg.stores`; fsspec knows the rest."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Callable
from functools import lru_cache

from tlg.store.places import Access, scheme
from tlg.store.protocol import Store

ENTRY_POINTS = "tlg.stores"


def _local(access: Access) -> Store:
    from tlg.store.local import LocalStore

    return LocalStore(access)


def _s3(access: Access) -> Store:
    from tlg.store.s3 import S3Store

    return S3Store(access)


def _web(access: Access) -> Store:
    from tlg.store.web import WebStore

    return WebStore(access)


def _any_other(access: Access) -> Store:
    from tlg.store.objects import ObjectStore

    return ObjectStore(access)


# A store's packages are imported when an address of its scheme is first met.
STORES: dict[str, Callable[[Access], Store]] = {"file": _local, "s3": _s3, "http": _web, "https": _web}


def store_of(uri: str, access: Access) -> Store:
    return _made(scheme(uri), access)


@lru_cache(maxsize=64)
def _made(name: str, access: Access) -> Store:
    if name in STORES:
        return STORES[name](access)
    for found in importlib.metadata.entry_points(group=ENTRY_POINTS, name=name):
        return found.load()(access)
    return _any_other(access)
