"""What every source that knows names offers: where a picture shows what a name says, and whether it does at all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from torch import Tensor

from tlg.network.features import Features


class NameEvidence(Protocol):
    """One source for the names of one exemplar set, in their order.

    Shapes: B pictures, N names, H x W the input size. What is seen is the source's own; it has a length, and rows of it
    are taken as of a tensor that has the pictures along its first axis.
    """

    @property
    def known(self) -> Sequence[bool]:
        """Of a name that it never learned a source says nothing."""
        ...

    def see(self, images_B3HW: Tensor, features: Features) -> Any:
        """What the source takes from pictures, whatever is asked of it."""
        ...

    def odds(self, seen: Any) -> Tensor:
        """(B, N): log-odds that a picture shows the name at all, 0 where it says no more than chance would."""
        ...

    def map(self, seen_1: Any, index: int) -> Tensor:
        """(H, W) in 0..1: where one picture shows one name."""
        ...


@runtime_checkable
class TaughtEvidence(NameEvidence, Protocol):
    """A source that learned some names with masks: the maps of these can be taken at their word."""

    @property
    def taught(self) -> Sequence[bool]: ...


def taught_names(source: NameEvidence) -> Sequence[bool]:
    return source.taught if isinstance(source, TaughtEvidence) else [False] * len(source.known)


def looks_at_pictures(source: NameEvidence) -> bool:
    """False of a source that says, by an attribute of this name, that the backbone's features are all it reads."""
    return getattr(source, "looks_at_pictures", True)
