"""The classes of the world, base and novel, in alphabetical order."""

from __future__ import annotations

from tlg.world import built, household, nature, signs, tools  # noqa: F401  (they fill the register)
from tlg.world.kinds import REGISTER, Kind
from tlg.world.textures import BACKGROUNDS

CLASSES: dict[str, Kind] = dict(sorted(REGISTER.items()))
BASE: tuple[str, ...] = tuple(name for name, kind in CLASSES.items() if not kind.novel)
NOVEL: tuple[str, ...] = tuple(name for name, kind in CLASSES.items() if kind.novel)
SETTINGS: tuple[str, ...] = tuple(sorted(BACKGROUNDS))

_INDEX = {name: index for index, name in enumerate(CLASSES)}


def index_of(name: str) -> int:
    """The class's index in `CLASSES`; its value in a label map is one more."""
    return _INDEX[name]
