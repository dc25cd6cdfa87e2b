"""Scheme -> store. Installed packages add theirs under the entry point `tlg.stores`; fsspec knows the rest."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

from tlg.errors import StorageError
from tlg.registry import Registry
from tlg.store.archives.addresses import parted
from tlg.store.archives.reading import MemberStore
from tlg.store.places import Access, scheme
from tlg.store.protocol import Store


def _label_studio(access: Access) -> Store:
    from tlg.store.label_studio import LabelStudioStore

    return LabelStudioStore(access, store_of)


# A store's packages are imported when an address of its scheme is first met.
OWN: dict[str, Callable[[Access], Store] | str] = {
    "file": "tlg.store.local:LocalStore",
    "s3": "tlg.store.s3:S3Store",
    "http": "tlg.store.web:WebStore",
    "https": "tlg.store.web:WebStore",
    "label-studio+http": _label_studio,
    "label-studio+https": _label_studio,
    "cvat+http": "tlg.store.cvat:CvatStore",
    "cvat+https": "tlg.store.cvat:CvatStore",
}
STORES: Registry[Callable[[Access], Store]] = Registry("store", "tlg.stores", OWN, StorageError)


def store_of(uri: str, access: Access) -> Store:
    """A member of an archive has a store of its own, which reads the archive in its."""
    made = _made(scheme(uri), access)
    return made if parted(uri) is None else MemberStore(made)


@lru_cache(maxsize=64)
def _made(name: str, access: Access) -> Store:
    if name in STORES:
        return STORES.load(name)(access)
    from tlg.store.objects import ObjectStore

    return ObjectStore(access)
