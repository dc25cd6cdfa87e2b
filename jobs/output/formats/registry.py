"""A format's name -> the format, whoever made it. Installed packages add theirs under the entry point `tlg.exports`."""

from __future__ import annotations

from importlib.metadata import EntryPoint, entry_points

from jobs.output.formats.protocol import ExportFormat
from tlg.errors import SpecError
from tlg.spec import EXPORTS_GROUP, export_formats

_PACKAGE = "jobs.output.formats"
# Named, not imported: a job pays for the formats that it writes.
OURS = {
    name: EntryPoint(name, f"{_PACKAGE}.{target}", EXPORTS_GROUP)
    for name, target in {
        "parquet": "parquet:MaskRows",
        "coco": "coco:Coco",
        "label_studio": "label_studio:LabelStudio",
        "label_studio_jsonl": "label_studio_jsonl:LabelStudioLines",
        "labelme": "labelme:LabelMe",
        "yolo_seg": "yolo_seg:YoloSeg",
        "label_maps": "label_maps:LabelMaps",
        "hugging_face": "hugging_face:HuggingFace",
        "croissant": "croissant:Croissant",
        "overlay": "overlay:Overlays",
    }.items()
}


def load(name: str) -> ExportFormat:
    """The format of a name; a name of ours is never taken by another package."""
    if name in OURS:
        entry = OURS[name]
    elif name in (known := export_formats()):
        entry = entry_points(group=EXPORTS_GROUP)[name]
    else:
        raise SpecError(f"format '{name}' is unknown; expected one of {', '.join(known)}")
    try:
        return entry.load()()
    except (ImportError, AttributeError) as error:
        raise SpecError(
            f"format '{name}' comes from {entry.value}, which cannot be loaded ({error}); install its package anew"
        ) from error
