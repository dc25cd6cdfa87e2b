"""`datasets` loads the folder as it would a repository, with its splits and decoded images."""

import sys

import numpy as np
from datasets import Image, load_dataset

folder, expected = sys.argv[1], np.load(sys.argv[2])
dataset = load_dataset(f"{folder}/hugging_face")
seen = 0
for split in dataset.values():
    assert isinstance(split.features["image"], Image)
    for row in split:
        stem = row["image_uri"].rsplit("/", 1)[1].rsplit(".", 1)[0]
        labels = np.asarray(row["label_map"])
        fox, hare = expected[f"{stem}/fox"], expected[f"{stem}/brown hare"]
        assert row["image"].size == labels.shape[::-1]
        assert (labels == np.where(fox, 1, np.where(hare, 2, 0))).all(), stem
        assert [one["class_name"] for one in row["answers"]] == ["fox", "brown hare"]
        seen += 1
print(seen)
