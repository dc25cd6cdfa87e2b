"""What every benchmark shares: repeat, take the median and the spread, print one table, write JSON beside it.

A benchmark is a module of this folder with `measure() -> list[Row]`. `python tests/benchmarks/harness.py`
runs all of them (or those named) in processes of their own, so that no one's memory or threads disturb another.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib.metadata
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parents[1] / "bench-results"


@dataclass(frozen=True)
class Row:
    """One line of the table. `value` is a ratio or a rate in `unit`; `spread` is half the range of the repeats, where
    the benchmark does not say otherwise."""

    what: str
    value: float | None
    unit: str
    aim: str = ""
    spread: float = 0.0
    repeats: int = 1
    inputs: str = ""


def median_seconds(action: Callable[[], object], repeats: int = 5, warm_up: int = 1) -> tuple[float, float]:
    """Median duration and half its range."""
    for _ in range(warm_up):
        action()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return statistics.median(times), half_range(times)


def half_range(values: Sequence[float]) -> float:
    return (max(values) - min(values)) / 2


def repeated(what: str, values: Sequence[float], unit: str, aim: str = "", inputs: str = "") -> Row:
    """The row of what was measured several times over."""
    return Row(what, statistics.median(values), unit, aim, half_range(values), len(values), inputs)


def machine() -> dict[str, object]:
    """Where the figures come from."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "ray", "pyarrow", "numpy", "pillow")}
    about: dict[str, object] = {"cpu_count": os.cpu_count(), "python": platform.python_version(), **versions}
    import torch

    about["gpu"] = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    return about


def run_one(name: str) -> list[dict[str, object]]:
    """The rows of one benchmark module, measured in this process."""
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    # Data classes look their module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return [dataclasses.asdict(row) for row in module.measure()]


def show(rows: list[dict[str, object]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table()
    for heading in ("what", "value", "± spread", "unit", "aim", "repeats", "inputs"):
        table.add_column(heading, overflow="fold")
    for row in rows:
        value = "not measured" if row["value"] is None else f"{row['value']:.3g}"
        cells = (row["what"], value, f"{row['spread']:.2g}", row["unit"], row["aim"], row["repeats"], row["inputs"])
        table.add_row(*(str(cell) for cell in cells))
    Console(width=160).print(table)


def main() -> None:
    available = sorted(path.stem for path in HERE.glob("*.py") if path.stem != "harness")
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(available)}; all when left out")
    parser.add_argument("--in-process", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.in_process:
        print("\x00" + json.dumps(run_one(arguments.names[0])))
        return
    results: dict[str, object] = {"machine": machine()}
    failed = []
    for name in arguments.names or available:
        command = [sys.executable, __file__, "--in-process", name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
        if done.returncode or "\x00" not in done.stdout:
            failed.append(name)
            continue
        rows = json.loads(done.stdout.rpartition("\x00")[2])
        print(f"\n{name}")
        show(rows)
        results[name] = rows
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{time.strftime('%Y%m%d-%H%M%S')}.json"
    file.write_text(json.dumps(results, indent=1))
    print(f"\nwritten to {file.relative_to(HERE.parents[1])}")
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
