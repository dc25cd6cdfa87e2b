"""Errors speak of the exemplar store, not of where on the server it lies."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tlg.errors import SpecError, StorageError

P = ParamSpec("P")
R = TypeVar("R")


def of_no_place(method: Callable[P, R]) -> Callable[P, R]:
    """For a method of an object whose `place` no error may name."""

    @functools.wraps(method)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        place: str = args[0].place  # type: ignore[attr-defined]
        try:
            return method(*args, **kwargs)
        except SpecError as error:
            raise SpecError(_without(str(error), place)) from None
        except StorageError as error:
            text = _without(str(error), place)
            raise StorageError(text, error.transient, error.missing, error.denied) from None

    return call


def _without(text: str, place: str) -> str:
    return re.sub(re.escape(place) + r"(/sets/[0-9a-f]{32}/|/|\b)", "", text).removeprefix(": ")
