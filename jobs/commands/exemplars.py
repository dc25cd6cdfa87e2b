"""`tlg exemplars add SET --from-review OUTPUT`: what people mended teaches the next run."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from PIL import Image

from jobs.commands.review import load
from jobs.output.parts import Rows
from jobs.review import sample, verdicts
from jobs.review.verdicts import Verdict
from tlg import exemplars, store
from tlg.answers import records
from tlg.documents import parse, read_text
from tlg.errors import SpecError
from tlg.exemplars import NEGATIVES_FOLDER, ExemplarDocument

EXAMPLES = 3


@dataclass(frozen=True)
class Correction:
    """A picture that shows a class, perhaps with its mask; `class_name` None: it shows none of the classes."""

    image_uri: str
    image_id: str
    class_name: str | None
    rle: records.Rle | None = None


def add(place: str, output: str, access: store.Access = store.DEFAULT_ACCESS) -> Iterator[str]:
    """Add to a set what a review corrected. What the set has already is not added again."""
    if exemplars.is_names(place):
        raise SpecError(f"{place}: names have no exemplars to add to; write an exemplar set, see docs/exemplars.md")
    known = exemplars.describe(place, access)
    proposals, remarks = corrections(output, {of_class.name for of_class in known.classes}, access)
    fresh = [correction for correction in proposals if not _has(known, correction)]
    if store.is_folder(place, access):
        written = _into_folder(place.rstrip("/"), fresh, access)
    else:
        written = _into_document(place, fresh, access)
    exemplars.load(place, access)  # what was written can be read
    shown = [correction for correction in fresh if correction.class_name is not None]
    masked = sum(correction.rle is not None for correction in shown)
    negatives = len(fresh) - len(shown)
    yield f"{place}: {len(shown):,} exemplars added, {masked:,} of them with a mask; {negatives:,} negatives"
    if len(proposals) > len(fresh):
        yield f"{len(proposals) - len(fresh):,} corrections were in the set before"
    yield from remarks
    yield from written
    if fresh:
        yield "the set's digest has changed: the next run answers again all that was answered with it"


def corrections(output: str, classes: set[str], access: store.Access) -> tuple[list[Correction], list[str]]:
    """What people corrected, and what of it cannot be used."""
    said = verdicts.read(output, access)
    if not said:
        raise SpecError(f"{output}: nobody has reviewed these answers; `tlg review {output}` does")
    last = {(verdict.image_id, verdict.class_name): verdict for verdict in said}
    catalogue = load(output, access)
    corrected: list[Correction] = []
    elsewhere: set[str] = set()
    mixed: list[str] = []
    for rows in sample.rows_of_ids(catalogue, {verdict.image_id for verdict in said}):
        of_picture = [last[key] for row in rows if (key := (row["image_id"], row["class_name"])) in last]
        elsewhere |= {verdict.class_name for verdict in of_picture} - classes
        corrected += _shown([verdict for verdict in of_picture if verdict.class_name in classes], rows)
        if any(verdict.verdict == "not_there" for verdict in of_picture):
            if _shows_nothing(rows, of_picture):
                corrected.append(Correction(rows[0]["image_uri"], rows[0]["image_id"], None))
            else:
                mixed.append(rows[0]["image_uri"].rsplit("/", 1)[-1])
    remarks = []
    if elsewhere:
        remarks.append(f"the set has no class {', '.join(sorted(elsewhere))}; corrections of it were left out")
    if mixed:
        remarks.append(
            f"{len(mixed):,} pictures are no negatives, since they show another class or were not judged whole: "
            + ", ".join(mixed[:EXAMPLES])
        )
    return corrected, remarks


def _shown(of_picture: Sequence[Verdict], rows: Rows) -> Iterator[Correction]:
    size = [rows[0]["height"], rows[0]["width"]]
    for verdict in of_picture:
        if verdict.verdict in ("mended", "missing") and (verdict.rle is None or list(verdict.rle["size"]) == size):
            yield Correction(verdict.image_uri, verdict.image_id, verdict.class_name, verdict.rle)


def _shows_nothing(rows: Rows, of_picture: Sequence[Verdict]) -> bool:
    """Every mask was said not to be there, and nothing to be there after all."""
    denied = {verdict.class_name for verdict in of_picture if verdict.verdict == "not_there"}
    masked = {row["class_name"] for row in rows if row["status"] == "mask"}
    return masked <= denied and not any(verdict.is_there for verdict in of_picture)


def _has(known: ExemplarDocument, correction: Correction) -> bool:
    if correction.class_name is None:
        uris = known.negatives
    else:
        refs = next(of_class.exemplars for of_class in known.classes if of_class.name == correction.class_name)
        uris = [ref.image for ref in refs if correction.rle is None or ref.mask is not None]
    own_name = _name(correction)
    return any(uri == correction.image_uri or uri.rsplit("/", 1)[-1].startswith(f"{own_name}.") for uri in uris)


def _name(correction: Correction) -> str:
    stem = correction.image_uri.rsplit("/", 1)[-1].rpartition(".")[0]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', stem)}-{correction.image_id[:8]}"


def _png(rle: records.Rle) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(records.decode_mask(rle).astype(np.uint8) * 255).save(stream, "PNG")
    return stream.getvalue()


def _into_folder(folder: str, fresh: Sequence[Correction], access: store.Access) -> Iterator[str]:
    for correction in fresh:
        place = f"{folder}/{correction.class_name or NEGATIVES_FOLDER}/{_name(correction)}"
        suffix = correction.image_uri.rpartition(".")[2].lower()
        # The mask first: a picture alone would be another exemplar than the one that is meant.
        if correction.rle is not None:
            store.write(f"{place}.mask.png", _png(correction.rle), access)
        store.write(f"{place}.{suffix}", store.read(correction.image_uri, access), access)
    return iter(())


def _into_document(place: str, fresh: Sequence[Correction], access: store.Access) -> Iterator[str]:
    """The pictures stay where they are, masks lie beside the document, which is written anew; the old one is kept."""
    if not fresh:
        return iter(())
    text = store.read_text(place, access)
    content = read_text(text, place)
    stem, _, suffix = place.rpartition(".")
    masks = f"{stem.rsplit('/', 1)[-1]}-masks"
    by_name: dict[str, dict[str, Any]] = {str(of_class["name"]).strip(): of_class for of_class in content["classes"]}
    for correction in fresh:
        if correction.class_name is None:
            content["negatives"] = [*(content.get("negatives") or []), correction.image_uri]
            continue
        ref: dict[str, str] = {"image": correction.image_uri}
        if correction.rle is not None:
            class_part = re.sub(r"[^A-Za-z0-9_-]+", "-", correction.class_name)
            ref["mask"] = f"{masks}/{_name(correction)}-{class_part}.png"
            store.write(store.join(store.parent(place), ref["mask"]), _png(correction.rle), access)
        refs = by_name[correction.class_name]["exemplars"]
        # What was shown without a mask is shown better with it.
        by_name[correction.class_name]["exemplars"] = [
            *(old for old in refs if _plain(old) != correction.image_uri),
            ref,
        ]
    parse(ExemplarDocument, content, place)
    before = f"{stem}.before-review.{suffix}"
    store.write(before, text.encode(), access)
    is_json = suffix.lower() == "json"
    dumped = json.dumps(content, indent=1) if is_json else yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    store.write(place, dumped.encode(), access)
    return iter([f"written anew, without comments; the set as it was: {before}"])


def _plain(ref: Any) -> str | None:
    return ref if isinstance(ref, str) else ref.get("image") if set(ref) == {"image"} else None
