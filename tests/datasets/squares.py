"""Tiny collections in the usual layouts: coloured squares on noise."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

COLOURS = np.array(
    [(90, 90, 90), (220, 40, 40), (40, 200, 60), (50, 70, 230), (220, 210, 50), (200, 60, 200)], np.uint8
)
HEIGHT, WIDTH = 48, 64


def scene(rng: np.random.Generator, classes: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """A picture with one square per class, and its index map."""
    image = rng.integers(60, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)
    label = np.zeros((HEIGHT, WIDTH), np.uint8)
    for place, class_id in enumerate(classes):
        top, left = int(rng.integers(2, 20)), 4 + 30 * place
        label[top : top + 24, left : left + 24] = class_id
        image[label == class_id] = COLOURS[class_id % len(COLOURS)]
    return image, label


def save_index_map(label: np.ndarray, path: Path) -> None:
    file = Image.fromarray(label, mode="P")
    file.putpalette([value for index in range(256) for value in (index, index, index)])
    file.save(path)


@pytest.fixture(scope="session")
def index_maps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classes 1..5, index 6 is void; folds "0" (novel 1, 2) and "1" (novel 3, 4) with fixed episodes."""
    root = tmp_path_factory.mktemp("index_maps")
    rng = np.random.default_rng(0)
    (root / "images").mkdir()
    (root / "labels").mkdir()
    names = {"0": "background", "1": "cow", "2": "bird", "3": "boat", "4": "sign", "5": "book", "6": "void"}
    (root / "classes.json").write_text(json.dumps(names))
    for class_id in range(1, 6):
        for number in range(6):
            image, label = scene(rng, [class_id] if number < 5 else [class_id, class_id % 5 + 1])
            label[:2] = 6
            Image.fromarray(image).save(root / "images" / f"{class_id}_{number}.jpg")
            save_index_map(label, root / "labels" / f"{class_id}_{number}.png")
    folds = {}
    for fold, novel in {"0": [1, 2], "1": [3, 4]}.items():
        pairs = [(c, f"{c}_{n}") for c in novel for n in range(3)]
        folds[fold] = {
            "novel_classes": novel,
            "1_shot": [{"class": c, "query": query, "support": [f"{c}_3"]} for c, query in pairs],
            "2_shot": [{"class": c, "query": query, "support": [f"{c}_3", f"{c}_4"]} for c, query in pairs],
        }
    (root / "episodes.json").write_text(json.dumps({"folds": folds}))
    return root


@pytest.fixture(scope="session")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("pairs")
    rng = np.random.default_rng(1)
    for group in ("001_red_kite", "002_statue"):
        (root / group).mkdir()
        for number in range(4):
            image, label = scene(rng, [1])
            Image.fromarray(image).save(root / group / f"{number:03d}.jpg")
            Image.fromarray(label > 0).save(root / group / f"{number:03d}.png")
    return root


@pytest.fixture(scope="session")
def voc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs per class and split, with 255 on the rim, and one photograph of classes 1 and 20 in train."""
    root = tmp_path_factory.mktemp("VOC2012")
    rng = np.random.default_rng(2)
    for folder in ("JPEGImages", "SegmentationClass", "SegmentationClassAug", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    lists: dict[str, list[str]] = {"train": [], "val": []}
    shown = [[class_id] for class_id in range(1, 21) for _ in range(3)] + [[1, 20]]
    for split, names in lists.items():
        for number, classes in enumerate(shown):
            name = f"{split}_{number:06d}"
            image, label = scene(rng, classes)
            label[:, 0] = 255
            Image.fromarray(image).save(root / "JPEGImages" / f"{name}.jpg")
            save_index_map(label, root / "SegmentationClassAug" / f"{name}.png")
            if number % 2 == 0 or split == "val":
                save_index_map(label, root / "SegmentationClass" / f"{name}.png")
                names.append(name)
        (root / "ImageSets" / "Segmentation" / f"{split}.txt").write_text("\n".join(names) + "\n")
    return root


@pytest.fixture(scope="session")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """80 categories whose ids have gaps, three photographs of each; category ids in no particular order."""
    root = tmp_path_factory.mktemp("coco")
    rng = np.random.default_rng(3)
    (root / "annotations").mkdir()
    category_ids = [index + index // 10 + 1 for index in range(80)]
    categories = [{"id": category, "name": f"thing {category}"} for category in reversed(category_ids)]
    for split in ("train2014", "val2014"):
        (root / split).mkdir()
        images, annotations = [], []
        for number, category in enumerate(category_ids * 3):
            name = f"COCO_{split}_{number:012d}.jpg"
            images.append({"id": 1000 + number, "file_name": name, "height": HEIGHT, "width": WIDTH})
            Image.fromarray(rng.integers(0, 255, (HEIGHT, WIDTH, 3)).astype(np.uint8)).save(root / split / name)
            boxes = [(category, 4, 4, 30, 30)]
            if number == 0:  # a smaller object in front of the first
                boxes.append((category_ids[1], 10, 10, 8, 8))
            for owner, left, top, width, height in boxes:
                right, bottom = left + width, top + height
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": 1000 + number,
                        "category_id": owner,
                        "iscrowd": 0,
                        "area": width * height,
                        "bbox": [left, top, width, height],
                        "segmentation": [[left, top, right, top, right, bottom, left, bottom]],
                    }
                )
        content = {"images": images, "annotations": annotations, "categories": categories}
        (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
    return root


@pytest.fixture(scope="session")
def fss(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("fss")
    rng = np.random.default_rng(4)
    (root / "splits").mkdir()
    for split, folders in {"train": ["ab_wheel", "abacus"], "test": ["zucchini"]}.items():
        (root / "splits" / f"{split}.txt").write_text("\n".join(folders))
        for folder in folders:
            (root / folder).mkdir()
            for number in range(1, 11):
                image, label = scene(rng, [1])
                Image.fromarray(image).save(root / folder / f"{number}.jpg")
                Image.fromarray(np.repeat((label * 255)[:, :, None], 3, axis=2)).save(root / folder / f"{number}.png")
    return root
