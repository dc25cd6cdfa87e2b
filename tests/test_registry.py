"""Names that other packages add to: ours come first and stay ours, and an error says what there is."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests import outside
from tlg.errors import SpecError
from tlg.registry import Registry

TOY = """
def red():
    return "another package's red"


def green():
    return "green"
"""


def blue() -> str:
    return "blue"


@pytest.fixture
def colours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Registry[Callable[[], str]]:
    entries = ["red = toy_colours:red", "green = toy_colours:green", "lost = toy_colours:gone"]
    outside.install(tmp_path, monkeypatch, "toy_colours", TOY, {"tlg.test_colours": entries})
    monkeypatch.setattr("tlg.errors.red", lambda: "red", raising=False)
    return Registry("colour", "tlg.test_colours", {"red": "tlg.errors:red", "blue": blue}, SpecError, "mix your own")


def test_ours_come_first_in_their_own_order(colours: Registry[Callable[[], str]]) -> None:
    assert colours.names() == ["red", "blue", "green", "lost"]
    assert "green" in colours
    assert "pink" not in colours


def test_a_name_of_ours_is_never_taken_by_another_package(colours: Registry[Callable[[], str]]) -> None:
    assert [colours.load(name)() for name in ("red", "blue", "green")] == ["red", "blue", "green"]


def test_what_cannot_be_loaded_is_named_with_where_it_comes_from(colours: Registry[Callable[[], str]]) -> None:
    with pytest.raises(SpecError, match=r"colour 'lost' comes from toy_colours:gone, which cannot be loaded .* anew"):
        colours.load("lost")


def test_an_unknown_name_tells_the_nearest_what_there_is_and_the_way_out(colours: Registry[Callable[[], str]]) -> None:
    expected = r"unknown colour 'gren' \(did you mean 'green'\?\): expected one of red, blue, green, lost; mix your own"
    with pytest.raises(SpecError, match=expected):
        colours.load("gren")
