"""The drawing of the packages is that of the code, and the code has an order to draw."""

from __future__ import annotations

import importlib.util
from graphlib import TopologicalSorter
from pathlib import Path
from types import ModuleType

import grimp
import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def drawing() -> ModuleType:
    location = importlib.util.spec_from_file_location("draw_architecture", DOCS / "draw_architecture.py")
    assert location is not None
    assert location.loader is not None
    module = importlib.util.module_from_spec(location)
    location.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def graph(drawing: ModuleType) -> grimp.ImportGraph:
    return drawing.graph_of_code()


def test_the_drawing_is_up_to_date(drawing: ModuleType, graph: grimp.ImportGraph) -> None:
    assert drawing.DRAWING.read_text() == drawing.drawn(graph), "run `make architecture`"


def test_no_modules_import_one_another(drawing: ModuleType, graph: grimp.ImportGraph) -> None:
    imports = {
        module: {target for target in graph.find_modules_directly_imported_by(module) if module not in drawing.DOORS}
        for module in graph.modules
    }
    TopologicalSorter(imports).prepare()  # raises CycleError, which names the circle
