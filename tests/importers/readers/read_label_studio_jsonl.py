"""Label Studio's own parser of tasks in a cloud storage, its check of tasks, and its decoder of masks."""

import os
import pathlib
import sys

import numpy as np

folder, expected = pathlib.Path(sys.argv[1]), np.load(sys.argv[2])
import label_studio  # noqa: E402

sys.path.insert(0, os.path.dirname(label_studio.__file__))
os.environ["DJANGO_SETTINGS_MODULE"] = "core.settings.label_studio"
os.environ["LABEL_STUDIO_BASE_DATA_DIR"] = str(folder / "label-studio")
import django  # noqa: E402

django.setup()
from io_storages.utils import load_tasks_json  # noqa: E402
from label_studio_sdk.converter.brush import decode_rle  # noqa: E402
from tasks.validation import TaskValidator  # noqa: E402

seen = 0
for file in sorted((folder / "label_studio_jsonl").glob("*.jsonl")):
    for entry in load_tasks_json(file.read_bytes(), file.name):
        task = entry.task_data
        TaskValidator.check_allowed(task)
        name = pathlib.PurePath(task["data"]["image"]).stem
        shape = next(expected[key].shape for key in expected.files if key.startswith(f"{name}/"))
        found = {}
        for region in task["predictions"][0]["result"]:
            rgba = np.reshape(decode_rle(region["value"]["rle"]), (*shape, 4))
            label = region["value"]["brushlabels"][0]
            found[label] = found.get(label, np.zeros(shape, bool)) | (rgba == 255).all(axis=2)
        for key in expected.files:
            if key.startswith(f"{name}/"):
                mask = found.get(key.partition("/")[2], np.zeros(shape, bool))
                assert (mask == expected[key]).all(), key
        seen += 1
print(seen)
