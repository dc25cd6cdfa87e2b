"""The page's table is what the tests say, and every cell that is kept has its test."""

import runpy
from pathlib import Path

from tests.store.matrix import CELLS, NOT_HERE, SCHEMES, SERVERS

ROOT = Path(__file__).parents[2]


def test_the_page_shows_the_table_of_the_tests():
    page = (ROOT / "docs" / "stores.md").read_text()
    assert runpy.run_path(str(ROOT / "docs" / "write_stores.py"))["page"](page) == page


def test_every_cell_has_its_test():
    for place in CELLS.values():
        file, _, name = place.partition("::")
        assert f"def {name}(" in (ROOT / file).read_text()
    assert set(NOT_HERE) <= {(scheme, cell) for scheme in SCHEMES for cell in CELLS}
    assert set(SERVERS) == set(SCHEMES)
