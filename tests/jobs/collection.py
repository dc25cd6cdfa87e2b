"""Small collections of bright discs, and what the tests ask of an output."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from jobs.output import shards
from tlg import store
from tlg.answers import records
from tlg.documents import parse
from tlg.spec import AnnotateSpec

PROVENANCE = {"run_id"}


def picture(seed: int, side: int = 40) -> bytes:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:side, :side]
    centre_y, centre_x = rng.uniform(side / 4, side * 3 / 4, 2)
    inside = (y - centre_y) ** 2 + (x - centre_x) ** 2 < rng.uniform(side / 8, side / 4) ** 2
    pixels = rng.integers(0, 60, (side, side, 3), dtype=np.uint8)
    pixels[inside] += 150
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def write(folder: Path, count: int) -> Path:
    for number in range(count):
        path = folder / f"{number % 7}" / f"{number:04d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return folder


def spec(source: str, exemplar_folder: Path, out: str, **changes: Any) -> AnnotateSpec:
    content: dict[str, Any] = {
        "name": "discs",
        "images": {"uri": source},
        "exemplars": str(exemplar_folder),
        "model": "dry-run",
        "output": {"uri": out},
    }
    return parse(AnnotateSpec, content | changes, "test")


def answers(output: str, access: store.Access = store.DEFAULT_ACCESS) -> pa.Table:
    """Every committed row, as any reader of annotations/*.parquet sees it, without the run's name."""
    tables = [shards.read(shard, None, access) for shard in shards.committed(output, access)]
    table = pa.concat_tables(tables).select([name for name in records.SCHEMA.names if name not in PROVENANCE])
    return table.sort_by([("image_uri", "ascending"), ("class_id", "ascending")])


def assert_each_once(table: pa.Table) -> None:
    pairs = list(zip(table["image_uri"].to_pylist(), table["class_id"].to_pylist(), strict=True))
    assert len(pairs) == len(set(pairs))
