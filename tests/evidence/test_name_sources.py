"""Sources of what names mean: the model's own, and those of other packages, chosen by the model folder."""

from __future__ import annotations

import json
import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch import Tensor

from tests.annotators.sets import NAMES, exemplar_set, picture, scene
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator
from tlg.errors import CheckpointError
from tlg.evidence.names.classifier import ClassifierNames
from tlg.evidence.names.registry import SOURCES, Asked, name_evidence
from tlg.hub.folder import save_model
from tlg.hub.model_file import MODEL_FILE
from tlg.hub.zoo import digest_of
from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import build_backbone
from tlg.network.features import Features

SIDE = 64
WHOLE = AnnotateParams(tile="off")


class LeftSide:
    """A source as another package would write it: it knows one name, and sees it on the left of every picture."""

    def __init__(self, asked: Asked) -> None:
        self.known = [name == NAMES[0] for name in asked.names]
        self._size = asked.size

    def see(self, images_B3HW: Tensor, features: Features) -> Tensor:
        return images_B3HW.mean((1, 2, 3))

    def odds(self, seen: Tensor) -> Tensor:
        return seen[:, None].expand(-1, len(self.known))

    def map(self, seen_1: Tensor, index: int) -> Tensor:
        map_HW = torch.full(self._size, 0.01)
        map_HW[:, : self._size[1] // 2] = 0.99
        return map_HW


@pytest.fixture
def outside_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with an entry point, as it would be installed."""
    module = ModuleType("outside_names")
    module.LeftSide = LeftSide  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "outside_names", module)
    entry = EntryPoint("left-side", "outside_names:LeftSide", SOURCES.group)
    monkeypatch.setattr(
        "tlg.registry.entry_points", lambda group, name=None: [entry] if name in (None, "left-side") else []
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save_model(tmp_path, "plain", build_backbone("tiny"), input_size=(SIDE, SIDE))
    return tmp_path


def choose(folder: Path, source: str) -> None:
    content = json.loads((folder / MODEL_FILE).read_text())
    (folder / MODEL_FILE).write_text(json.dumps(content | {"names": source}))


@pytest.mark.usefixtures("outside_package")
def test_another_package_adds_a_source_and_a_model_folder_chooses_it(folder: Path) -> None:
    plain, digest = load_annotator(str(folder), exemplar_set(), WHOLE, "cpu"), digest_of(folder)
    assert plain.names is None
    choose(folder, "left-side")
    named = load_annotator(str(folder), exemplar_set(), WHOLE, "cpu")
    assert isinstance(named.names, LeftSide)
    assert list(named.names.known) == [True, False]
    assert digest_of(folder) != digest
    assert "left-side" in SOURCES.names()
    assert len(named.annotate([picture(scene([50, 0], [NAMES[0]], NAMES[0]))])[0]) == len(NAMES)


@pytest.mark.usefixtures("outside_package")
def test_a_source_that_nobody_brings_is_refused_with_those_that_are_known(folder: Path) -> None:
    choose(folder, "left-syde")
    with pytest.raises(
        CheckpointError, match=r"'left-syde' \(did you mean 'left-side'\?\): expected one of clip, classifier"
    ):
        load_annotator(str(folder), exemplar_set(), WHOLE, "cpu")


class Labelled(Backbone):
    class_names = tuple(map(str, range(1000)))


def test_an_installed_source_that_no_model_chose_changes_nothing(outside_package: None) -> None:
    found = name_evidence(None, Asked(["dog"], Labelled(), (8, 8)))
    assert isinstance(found, ClassifierNames)
    assert name_evidence("classifier", Asked(["dog"], build_backbone("tiny"), (8, 8))) is None
