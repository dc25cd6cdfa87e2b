"""Draws docs/architecture.svg from the imports of the code: `make architecture`.

A box is a folder or module of the second level. An arrow says "imports"; an arrow that a chain of others already
implies is left out. So is what the doors (`tlg.cli`, `tlg.ray`, `tlg.api.job`) import: whatever a caller asks for.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from graphlib import TopologicalSorter
from html import escape
from pathlib import Path

import grimp

DRAWING = Path(__file__).parent / "architecture.svg"
DOORS = {"tlg", "tlg.__main__", "tlg.cli", "tlg.ray", "tlg.api.job"}
# Beside the doors: how the bundled model was made, and the client, which knows the endpoint's words alone.
LEFT_OUT = DOORS | {"jobs", "tlg.recipes", "tlg.world", "tlg.client"}
COLOURS = {"tlg": "#dbeafe", "jobs": "#dcfce7", "deploy": "#fef3c7"}
BOX_WIDTH, BOX_HEIGHT, GAP, ROW = 132, 34, 22, 74

Imports = dict[str, set[str]]


def imports_between_boxes(graph: grimp.ImportGraph) -> Imports:
    """Box -> boxes that it imports."""
    boxes: Imports = {}
    for module in graph.modules:
        importer = box_of(module)
        if module in DOORS or importer in LEFT_OUT:
            continue
        imported = {box_of(target) for target in graph.find_modules_directly_imported_by(module)}
        boxes.setdefault(importer, set()).update(imported - LEFT_OUT - {importer})
    return boxes


def box_of(module: str) -> str:
    """`deploy` is one box: its folders share the endpoint's own words."""
    return "deploy" if module.startswith("deploy") else ".".join(module.split(".")[:2])


def without_implied(imports: Imports) -> Imports:
    """Only the arrows that no longer way stands for."""

    def reached(box: str) -> set[str]:
        return set().union(*({target} | reached(target) for target in imports[box])) if imports[box] else set()

    return {
        box: {target for target in targets if not any(target in reached(other) for other in targets - {target})}
        for box, targets in imports.items()
    }


def rows_of(imports: Imports) -> list[list[str]]:
    """Boxes by the longest chain of imports below them, the most used row last."""
    height: dict[str, int] = {}
    for box in TopologicalSorter(imports).static_order():
        height[box] = max((height[target] + 1 for target in imports[box]), default=0)
    return [
        sorted(box for box in height if height[box] == level) for level in sorted(set(height.values()), reverse=True)
    ]


def graph_of_code() -> grimp.ImportGraph:
    return grimp.build_graph("tlg", "jobs", "deploy", cache_dir=None)


def drawn(graph: grimp.ImportGraph) -> str:
    imports = without_implied(imports_between_boxes(graph))
    rows = rows_of(imports)
    width = max(map(len, rows)) * (BOX_WIDTH + GAP) + GAP
    places = {
        box: (width / 2 + (column - (len(row) - 1) / 2) * (BOX_WIDTH + GAP), GAP + BOX_HEIGHT / 2 + level * ROW)
        for level, row in enumerate(rows)
        for column, box in enumerate(row)
    }
    height = len(rows) * ROW
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
            '<rect width="100%" height="100%" fill="white"/>',
            *arrows(imports, places),
            *boxes(places),
            "</svg>\n",
        ]
    )


def arrows(imports: Imports, places: dict[str, tuple[float, float]]) -> Iterable[str]:
    for box in sorted(imports):
        for target in sorted(imports[box]):
            (x, y), (to_x, to_y) = places[box], places[target]
            start, end = y + BOX_HEIGHT / 2, to_y - BOX_HEIGHT / 2
            bend = (end - start) / 2
            curve = f"M{x:.0f} {start:.0f}C{x:.0f} {start + bend:.0f} {to_x:.0f} {end - bend:.0f} {to_x:.0f} {end:.0f}"
            yield f'<path d="{curve}" fill="none" stroke="#94a3b8"/>'


def boxes(places: dict[str, tuple[float, float]]) -> Iterable[str]:
    for box, (x, y) in sorted(places.items()):
        corner = f'x="{x - BOX_WIDTH / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}"'
        size = f'width="{BOX_WIDTH}" height="{BOX_HEIGHT}"'
        yield f'<rect {corner} {size} rx="6" fill="{COLOURS[box.split(".")[0]]}" stroke="#475569"/>'
        yield f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" font-size="14">{escape(box)}</text>'


def main() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1]))
    DRAWING.write_text(drawn(graph_of_code()))


if __name__ == "__main__":
    main()
