"""Scheme -> store. Installed packages add theirs under the entry point `tlg.stores`; fsspec knows the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from tlg.errors import StorageError
from tlg.registry import Registry
from tlg.store.places import Access, scheme
from tlg.store.protocol import Store

# A store's packages are imported when an address of its scheme is first met.
OWN: dict[str, Callable[[Access], Store] | str] = {
    "file": "tlg.store.local:LocalStore",
    "s3": "tlg.store.s3:S3Store",
    "http": "tlg.store.web:WebStore",
    "https": "tlg.store.web:WebStore",
}
STORES: Registry[Callable[[Access], Store]] = Registry("store", "tlg.stores", OWN, StorageError)


def store_of(uri: str, access: Access) -> Store:
    return _made(scheme(uri), access)


@lru_cache(maxsize=64)
def _made(name: str, access: Access) -> Store:
    if name in STORES:
        return STORES.load(name)(access)
    from tlg.store.objects import ObjectStore

    return ObjectStore(access)
