"""FiftyOne: the pictures, each with the place of its label map, whose colours FiftyOne reads."""

import pathlib
import sys

import fiftyone
import numpy as np
from PIL import Image

folder, expected = sys.argv[1], np.load(sys.argv[2])
dataset = fiftyone.Dataset.from_images_dir(f"{folder}/images")
places = {place.stem: place for place in pathlib.Path(folder, "label_maps").rglob("*.png")}
seen = 0
for sample in dataset.iter_samples(autosave=True):
    stem = sample.filename.rsplit(".", 1)[0]
    if stem not in places:
        continue
    sample["ground_truth"] = fiftyone.Segmentation(mask_path=str(places[stem]))
    mask = sample.ground_truth.get_mask()
    colours = np.array(Image.open(places[stem]).getpalette()).reshape(-1, 3)
    fox, hare = expected[f"{stem}/fox"], expected[f"{stem}/brown hare"]
    assert (mask == colours[np.where(fox, 1, np.where(hare, 2, 0))]).all(), stem
    seen += 1
print(seen)
dataset.delete()
