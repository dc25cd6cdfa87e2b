"""FiftyOne: an image segmentation directory of the pictures and their label maps."""

import sys

import fiftyone
import numpy as np

folder, expected = sys.argv[1], np.load(sys.argv[2])
dataset = fiftyone.Dataset.from_dir(
    dataset_type=fiftyone.types.ImageSegmentationDirectory,
    data_path=f"{folder}/images",
    labels_path=f"{folder}/label_maps",
)
seen = 0
for sample in dataset:
    stem = sample.filename.rsplit(".", 1)[0]
    mask = sample.ground_truth.mask if sample.ground_truth.mask is not None else sample.ground_truth.get_mask()
    fox, hare = expected[f"{stem}/fox"], expected[f"{stem}/brown hare"]
    assert (mask == np.where(fox, 1, np.where(hare, 2, 0))).all(), stem
    seen += 1
print(seen)
dataset.delete()
