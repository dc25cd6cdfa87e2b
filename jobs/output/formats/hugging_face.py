"""`hugging_face`: `hugging_face/README.md` and `hugging_face/data/*.parquet`, which `datasets` loads with its splits.

A row is an image with its bytes, its exclusive label map as a PNG, and what was said about each class.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from jobs.output import marker as markers
from jobs.output.formats.protocol import ExportFormat
from jobs.output.parts import Parts, Rows
from jobs.output.selection import Exported, Selection
from jobs.output.splits import SPLITS, split_of
from tlg import store
from tlg.answers import records
from tlg.answers.formats import label_map
from tlg.errors import StorageError

FOLDER = "hugging_face"
IMAGES_PER_FILE = 1_000
# Images that are in memory together; a group of rows is also what a reader has to fetch at least.
IMAGES_AT_ONCE = 32
READ_AT_ONCE = 8
SUFFIX = ".parquet"
EXAMPLES = 3
COLUMNS = records.SCHEMA.names
# What `datasets` calls our splits.
SPLIT_NAMES = {"train": "train", "val": "validation", "test": "test"}
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
ANSWER = pa.struct(
    [
        records.SCHEMA.field(name)
        for name in ("class_name", "class_id", "status", "score", "presence", "area", "bbox", "rle", "part")
    ]
)
FEATURES = {"image": {"_type": "Image"}, "label_map": {"_type": "Image"}}
SCHEMA = pa.schema(
    [
        ("image", IMAGE),
        ("label_map", IMAGE),
        ("image_id", pa.string()),
        ("image_uri", pa.string()),
        ("answers", pa.list_(ANSWER)),
    ]
)


class HuggingFace(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        label_map.check(answers.categories())
        left_out: list[str] = []
        uris = _parts(answers, left_out).write(answers.catalogue, answers.chosen.apply)
        return Exported([*uris, _write_card(answers)], _remark(left_out))

    def settings(self, answers: Selection) -> Mapping[str, Any]:
        return {"format": 1, "categories": answers.categories()}

    def update(self, answers: Selection, name: str) -> Exported:
        label_map.check(answers.categories())
        left_out: list[str] = []
        uris = _parts(answers, left_out).update(answers.catalogue, name, markers.digest(self.settings(answers)))
        return Exported([*uris, _write_card(answers)] if uris else [], _remark(left_out))


def _remark(left_out: list[str]) -> str:
    return f"{len(left_out):,} images are gone and left out: {', '.join(left_out[:EXAMPLES])}" if left_out else ""


def _parts(answers: Selection, left_out: list[str]) -> Parts:
    ids = {name: number for number, name in answers.categories()}

    def write_part(folder: Path, name: str, part: Iterable[Rows]) -> None:
        images = (rows for rows in part if rows[0]["status"] != "error")
        writers: dict[str, pq.ParquetWriter] = {}
        schema = SCHEMA.with_metadata({"huggingface": json.dumps({"info": {"features": _features()}})})
        try:
            for batch in _batches(images, ids, answers.access, left_out):
                for split in {split_of(row["image_id"]) for row in batch}:
                    if split not in writers:
                        file = folder / f"{name}-{SPLIT_NAMES[split]}{SUFFIX}"
                        writers[split] = pq.ParquetWriter(file, schema, compression="zstd")
                    rows = [row for row in batch if split_of(row["image_id"]) == split]
                    writers[split].write_table(pa.Table.from_pylist(rows, schema=schema))
        finally:
            for writer in writers.values():
                writer.close()

    return Parts(f"{answers.base}/{FOLDER}/data", "part", IMAGES_PER_FILE, COLUMNS, write_part, SUFFIX)


def _batches(
    images: Iterator[Rows], ids: Mapping[str, int], access: store.Access, left_out: list[str]
) -> Iterator[list[dict[str, Any]]]:
    """Rows of the data set, some at a time; images that are gone are left out."""
    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        while some := list(islice(images, IMAGES_AT_ONCE)):
            results = list(pool.map(lambda rows: _row(rows, ids, access), some))
            left_out += [rows[0]["image_uri"] for rows, row in zip(some, results, strict=True) if row is None]
            if batch := [row for row in results if row is not None]:
                yield batch


def _row(rows: Rows, ids: Mapping[str, int], access: store.Access) -> dict[str, Any] | None:
    uri = rows[0]["image_uri"]
    try:
        content = store.read(uri, access)
    except StorageError as error:
        if error.transient:
            raise
        return None
    return {
        "image": {"bytes": content, "path": uri.rsplit("/", 1)[-1]},
        "label_map": {"bytes": label_map.encode(label_map.labels(rows, ids)), "path": None},
        "image_id": rows[0]["image_id"],
        "image_uri": uri,
        "answers": [{field.name: row[field.name] for field in ANSWER} for row in rows if row["class_name"] in ids],
    }


def _features() -> dict[str, Any]:
    """Columns as `datasets` describes them."""
    return {field.name: FEATURES.get(field.name) or _feature(field.type) for field in SCHEMA}


def _feature(kind: pa.DataType) -> Any:
    if pa.types.is_list(kind):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    if pa.types.is_struct(kind):
        return {field.name: _feature(field.type) for field in kind}
    return {"dtype": {"float": "float32"}.get(str(kind), str(kind)), "_type": "Value"}


def _write_card(answers: Selection) -> str:
    """The card names the splits that have files: `datasets` refuses one that has none."""
    folder = f"{answers.base}/{FOLDER}"
    names = [entry.uri for entry in store.listed(f"{folder}/data", f"*{SUFFIX}", answers.access)]
    there = [SPLIT_NAMES[split] for split in SPLITS if any(n.endswith(f"-{SPLIT_NAMES[split]}{SUFFIX}") for n in names)]
    files = [{"split": split, "path": f"data/*-{split}{SUFFIX}"} for split in there]
    head = {
        "task_categories": ["image-segmentation"],
        "pretty_name": answers.name,
        "configs": [{"config_name": "default", "data_files": files}],
    }
    classes = "\n".join(f"| {number} | {name} |" for number, name in answers.categories())
    text = f"""---
{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---

# {answers.name}

{answers.catalogue.image_count():,} images with masks that a model drew; nobody has checked them unless it is said
elsewhere. Which licence the images have is for you to say.

| column | what |
|---|---|
| `image` | the picture, as its file was |
| `label_map` | one class for each pixel, 0 where there is none; where masks overlap, the higher score wins |
| `image_id`, `image_uri` | the picture's stable name, and where it was |
| `answers` | for each class asked, and for its objects (`part`): status, score, presence, box, run-length mask |

| number | class |
|---|---|
{classes}

An image's split follows from its `image_id`, so it stays where it is when others come: 80 % train, 10 % validation,
10 % test.
"""
    store.write(f"{folder}/README.md", text.encode(), answers.access)
    return f"{folder}/README.md"
