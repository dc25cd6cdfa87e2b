"""`croissant`: `croissant.json`, which describes the answer rows beside it as Croissant 1.1.

In an output it describes `annotations/*.parquet` where they are; elsewhere it takes a copy of the rows along.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa

from jobs.output import lease, shards
from jobs.output.formats.protocol import ExportFormat
from jobs.output.selection import Exported, Selection
from tlg import store
from tlg.answers import records
from tlg.answers.records import Provenance
from tlg.errors import SpecError

NAME = "croissant.json"
FILES = "answer-files"
RECORDS = "answers"
# The context of Croissant 1.1, whole: readers compare it with theirs. These terms are called there what they are here.
TERMS = (
    *("arrayShape", "citeAs", "column", "containedIn", "equivalentProperty", "extract", "field", "fileProperty"),
    *("fileObject", "fileSet", "format", "includes", "isArray", "isLiveDataset", "jsonPath", "key", "md5"),
    *("parentField", "path", "recordSet", "references", "regex", "repeated", "replace", "samplingRate", "separator"),
    *("source", "subField", "transform"),
)
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "name": {"@container": "@language"},
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{term: f"cr:{term}" for term in TERMS},
}
MEANINGS = {
    "image_id": "Stable name of the image, a digest of its URI",
    "image_uri": "Where the image is",
    "image_etag": "Version of the image as its store names it",
    "height": "Height of the image in pixels, as it is shown upright",
    "width": "Width of the image in pixels, as it is shown upright",
    "class_name": "The class asked",
    "class_id": "The place of the class in the exemplar set, from 1",
    "status": "mask, absent or error",
    "score": "How certain the mask is, 0 to 1",
    "presence": "The probability that the class is in the image at all",
    "area": "Pixels of the mask",
    "part": "The number of an object of the class, from 1; null in the row of the class itself",
    "error_type": "Kind of the error, where the image could not be read",
    "error_message": "What was found and what was expected",
    "model_digest": "Which model answered",
    "exemplars_digest": "Which exemplar set it was shown",
    "params_digest": "Which parameters it had",
    "run_id": "Which run of the job",
}


class Croissant(ExportFormat):
    def write(self, answers: Selection) -> Exported:
        uris = [] if _is_in_place(answers) else _copied(answers)
        uri = f"{answers.base}/{NAME}"
        store.write(uri, json.dumps(_document(answers), indent=1, ensure_ascii=False).encode(), answers.access)
        return Exported([*uris, uri])

    def settings(self, answers: Selection) -> Mapping[str, Any]:
        return {"format": 1, "name": answers.name}


def _is_in_place(answers: Selection) -> bool:
    return answers.base == answers.catalogue.output


def _copied(answers: Selection) -> list[str]:
    """The chosen rows, a file a shard; what an earlier, larger export left is removed."""
    base, access = answers.base, answers.access
    if store.listed(f"{base}/{lease.FOLDER}", "*.json", access):
        raise SpecError(f"--to {base}: is the output of another job; choose a folder elsewhere")
    written: list[str] = []
    for index in answers.catalogue.shards:
        tables = list(answers.tables(records.SCHEMA.names, [index]))
        if sum(map(len, tables)):
            uri = shards.shard_uri(base, index.shard.number)
            store.write(uri, shards.encode(shards.in_order(pa.concat_tables(tables))), access)
            written.append(uri)
    for shard in shards.committed(base, access):
        if shard.uri not in written:
            store.delete(shard.uri, access)
    return written


def _document(answers: Selection) -> dict[str, Any]:
    catalogue = answers.catalogue
    origins = sorted(
        {origin for index in catalogue.shards for origin in index.origins}, key=lambda origin: origin.run_id
    )
    classes = [name for _, name in answers.categories()]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": answers.name,
        "description": f"Masks of {', '.join(classes)} in {catalogue.image_count():,} images, drawn by a model.",
        "datePublished": datetime.now(timezone.utc).date().isoformat(),
        "version": "1.0.0",
        "keywords": classes,
        "isLiveDataset": _is_in_place(answers),  # a job goes on to write there
        "prov:wasGeneratedBy": [_activity(origin) for origin in origins],
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": FILES,
                "name": FILES,
                "description": "Committed shards; where an image lies in two, the one with the higher number holds.",
                "encodingFormat": "application/x-parquet",
                "includes": f"{shards.FOLDER}/*.parquet",
            }
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": RECORDS,
                "name": RECORDS,
                "description": "One row for each image and class asked.",
                "field": [_field(name, meaning) for name, meaning in MEANINGS.items()],
            }
        ],
    }


def _activity(origin: Provenance) -> dict[str, Any]:
    """The run that gave answers, and what it used, each by its digest."""
    used = {"model": origin.model_digest, "exemplars": origin.exemplars_digest, "parameters": origin.params_digest}
    return {
        "@type": "prov:Activity",
        "@id": f"run-{origin.run_id}",
        "name": origin.run_id,
        "prov:used": [
            {"@type": "prov:Entity", "@id": f"{kind}-{digest}", "name": kind, "identifier": digest}
            for kind, digest in used.items()
        ],
    }


def _field(name: str, meaning: str) -> dict[str, Any]:
    kind = records.SCHEMA.field(name).type
    data_type = "sc:Integer" if pa.types.is_integer(kind) else "sc:Float" if pa.types.is_floating(kind) else "sc:Text"
    return {
        "@type": "cr:Field",
        "@id": f"{RECORDS}/{name}",
        "name": name,
        "description": meaning,
        "dataType": data_type,
        "source": {"fileSet": {"@id": FILES}, "extract": {"column": name}},
    }
