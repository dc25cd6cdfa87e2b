"""`names://red fox,badger`: classes without any exemplar, for models that know what names mean."""

from __future__ import annotations

import hashlib

from tlg.errors import SpecError
from tlg.exemplars.document import seen_name
from tlg.exemplars.loaded import LoadedClass, LoadedExemplars, feed

SCHEME = "names://"


def address_of_names(names: str) -> str:
    """The exemplar set of names that commas part."""
    return SCHEME + names


def is_names(uri: str) -> bool:
    return uri.startswith(SCHEME)


def load_names(uri: str) -> LoadedExemplars:
    names = [name.strip() for name in uri.removeprefix(SCHEME).split(",")]
    repeated = next((name for name in names if sum(name.casefold() == other.casefold() for other in names) > 1), None)
    if repeated is not None:
        raise SpecError(f"{uri}: two classes are named '{repeated}'; names must differ")
    try:
        seen = [seen_name(name) for name in names]
    except ValueError as error:
        raise SpecError(f"{uri}: {error}; expected {SCHEME}NAME,NAME") from None
    classes = tuple(LoadedClass(name, number, None, (), ()) for number, name in enumerate(seen, start=1))
    digest = hashlib.blake2b(digest_size=16)
    for name in names:
        feed(digest, "class without exemplars", name)
    return LoadedExemplars("names", classes, (), digest.hexdigest())
