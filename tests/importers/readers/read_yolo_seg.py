"""Ultralytics: its check of a data set, and its own reader's polygons against the masks."""

import sys
from pathlib import Path

import cv2
import numpy as np
from ultralytics.data.dataset import YOLODataset
from ultralytics.data.utils import check_det_dataset

# OpenCV also fills the pixels on a border, where ours runs between pixels: drawn finer, their middles tell.
FINER = 8
folder, expected = sys.argv[1], np.load(sys.argv[2])
data = check_det_dataset(f"{folder}/yolo_seg/data.yaml", autodownload=False)
seen = 0
for split in ("train", "val", "test"):
    if not data.get(split) or not list(Path(data[split]).rglob("*.png")):
        continue
    dataset = YOLODataset(img_path=data[split], data=data, task="segment", augment=False)
    for label in dataset.labels:
        height, width = label["shape"]
        stem = label["im_file"].rsplit("/", 1)[1].rsplit(".", 1)[0]
        found = {name: np.zeros((height, width), np.uint8) for name in data["names"].values()}
        for place, polygon in zip(label["cls"].ravel().astype(int), label["segments"], strict=True):
            fine = np.zeros((height * FINER, width * FINER), np.uint8)
            cv2.fillPoly(fine, [np.round(polygon * (width * FINER, height * FINER)).astype(np.int32)], 1)
            found[data["names"][place]] |= fine[FINER // 2 :: FINER, FINER // 2 :: FINER]
        for name, mask in found.items():
            assert (mask.astype(bool) == expected[f"{stem}/{name}"]).all(), (stem, name)
        seen += 1
print(seen)
