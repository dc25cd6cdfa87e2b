"""A format's name -> the format, whoever made it. Installed packages add theirs under the entry point `tlg.exports`."""

from __future__ import annotations

from jobs.output.formats.protocol import ExportFormat
from tlg.errors import SpecError
from tlg.registry import Registry
from tlg.spec import EXPORTS_GROUP

_PACKAGE = "jobs.output.formats"
# Named, not imported: a job pays for the formats that it writes.
FORMATS: Registry[type[ExportFormat]] = Registry(
    "format",
    EXPORTS_GROUP,
    {
        name: f"{_PACKAGE}.{target}"
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
    },
    SpecError,
)


def load(name: str) -> ExportFormat:
    return FORMATS.load(name)()
