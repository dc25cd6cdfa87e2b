"""Names that other packages add to by an entry point. One of ours is never taken by another package."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Generic, TypeVar

from tlg.errors import TlgError

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Registry(Generic[Thing]):
    """What is registered under a name: `ours`, then the entry points of `group`.

    Things of ours stand here, or as `module:attribute` where importing them costs time. `kind` is what errors call a
    thing, and `advice` the way out for somebody who named one that is not there.
    """

    kind: str
    group: str
    ours: Mapping[str, Thing | str]
    error: type[TlgError]
    advice: str = ""

    def names(self) -> list[str]:
        return known_names(self.group, self.ours)

    def __contains__(self, name: str) -> bool:
        return self._registered(name) is not None

    def load(self, name: str) -> Thing:
        thing = self._registered(name)
        if thing is None:
            raise self.unknown(name)
        if not isinstance(thing, EntryPoint):
            return thing
        try:
            return thing.load()
        except (ImportError, AttributeError) as error:
            raise self.error(
                f"{self.kind} {name!r} comes from {thing.value}, which cannot be loaded ({error}); install its package"
                " anew"
            ) from error

    def unknown(self, name: str) -> TlgError:
        return self.error(unknown(self.kind, name, self.names()) + (f"; {self.advice}" if self.advice else ""))

    def _registered(self, name: str) -> Thing | EntryPoint | None:
        if name in self.ours:
            thing = self.ours[name]
            return EntryPoint(name, thing, self.group) if isinstance(thing, str) else thing
        return next(iter(entry_points(group=self.group, name=name)), None)


def known_names(group: str, ours: Collection[str]) -> list[str]:
    """Ours in their own order, then those of other packages."""
    return [*ours, *sorted({entry.name for entry in entry_points(group=group)} - set(ours))]


def unknown(kind: str, name: str, known: Collection[str]) -> str:
    """What an error says of a name that is not there."""
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
    return f"unknown {kind} {name!r}{hint}: expected one of {', '.join(known)}"
