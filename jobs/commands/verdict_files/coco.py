"""COCO, as CVAT and most other tools export it: every picture in the file was looked at."""

from __future__ import annotations

from jobs.commands import truth as truths
from jobs.commands.truth import Names
from jobs.output.catalogue import Catalogue
from jobs.output.parts import Rows
from jobs.review import from_truth
from jobs.review.from_truth import Taken
from tlg import store
from tlg.answers.formats import coco
from tlg.errors import InputError

SOURCE = "coco"


def read(file: str, answered: list[Rows], catalogue: Catalogue, root: str, reviewer: str) -> Taken:
    """`answered` has the rows of the pictures that may be meant, `root` is the collection's folder."""
    known = truths.load(file, catalogue.access)
    names, taken = Names.of(known), Taken()
    for rows in answered:
        name = names.find(coco.file_name(rows[0]["image_uri"], root))
        if name is None:
            continue
        try:
            picture = known.read(name)
            masks = {label: mask for label, mask in picture.masks.items() if mask.any()}
            if (picture.height, picture.width) != (rows[0]["height"], rows[0]["width"]):
                size, expected = (picture.width, picture.height), (rows[0]["width"], rows[0]["height"])
                raise InputError(
                    f"it is {size[0]}x{size[1]} pixels in the file, the picture {expected[0]}x{expected[1]}"
                )
            taken.verdicts += from_truth.of_picture(rows, masks, reviewer, SOURCE, known.classes)
            taken.pictures += 1
        except InputError as error:
            taken.remarks.append(f"{store.path_in_store(name)}: left out: {error}")
    unknown = sorted(set(known.names()) - names.used)
    if unknown:
        taken.remarks.append(f"{len(unknown):,} pictures of the file are not in the sample: {', '.join(unknown[:3])}")
    return taken
