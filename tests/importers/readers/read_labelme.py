"""LabelMe opens every document with its picture; its own drawing of the shapes against the masks."""

import pathlib
import sys

import numpy as np
from labelme import utils
from labelme._label_file import read_label_file

folder, expected = sys.argv[1], np.load(sys.argv[2])
seen = 0
for file in sorted(pathlib.Path(folder, "labelme").rglob("*.json")):
    data = read_label_file(filename=str(file))
    picture = utils.img_data_to_arr(data.image_data)
    found = {name: np.zeros(picture.shape[:2], bool) for name in ("fox", "brown hare")}
    for shape in data.shapes:
        found[shape["label"]] |= utils.shape_to_mask(picture.shape[:2], shape["points"], shape["shape_type"])
    for name, mask in found.items():
        truth = expected[f"{file.stem}/{name}"]
        union = (truth | mask).sum()
        # Pillow also fills the pixels beyond the border.
        assert union == 0 or (truth & mask).sum() / union > 0.85, (file.stem, name)
    seen += 1
print(seen)
