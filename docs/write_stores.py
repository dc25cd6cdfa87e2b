"""Write the table of schemes and promises in docs/stores.md: `python docs/write_stores.py`; a test holds it."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "stores.md"
MARK = "<!-- written by docs/write_stores.py -->\n"


def table() -> str:
    sys.path.insert(0, str(ROOT))
    from tests.store.matrix import CELLS, NOT_HERE, SCHEMES, SERVERS

    lines = [f"| scheme | tried on | {' | '.join(CELLS)} |", "|---" * (len(CELLS) + 2) + "|"]
    for scheme in SCHEMES:
        cells = [NOT_HERE.get((scheme, cell), "yes") for cell in CELLS]
        lines.append(f"| `{scheme}` | {SERVERS[scheme]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with its table, between two marks, made anew."""
    before, _, after = text.split(MARK)
    return MARK.join((before, table(), after))


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
    print(table(), end="")
