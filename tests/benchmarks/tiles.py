"""Large pictures with small things: IoU of the things with tiles and without, seconds, and the peak of memory.

Composites of 4000x3000 pixels with things of 60 pixels: drawn ones for tlg-tiny, and for tlg-photo cut-outs of the
photographs in ../shared/data where these are. Exemplars are cut from another composite, label alone, or are two whole
composites with masks.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from harness import Row
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = REPOSITORY.parent / "shared/data/icoseg"
WIDTH, HEIGHT = 4000, 3000
PATCH = 1000
THING = 60
CUT = 400
COPIES = 40
SHOTS = 4
SEED = 11
PHOTO_CLASSES = {"panda": "029_pandas", "goose": "022_goose", "helicopter": "025_airshows_helicopter"}
PHOTO_GROUND = ("009_stonehenge", "017_agra_taj_mahal", "020_pyramids", "048_windmill")
DRAWN_CLASSES = ("mug", "truck")
# A thing with its colours, and how much of each place it covers.
Sprite = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Composite:
    image: np.ndarray  # (H, W, 3) uint8
    masks: dict[str, np.ndarray]  # (H, W) bool
    middles: dict[str, list[tuple[int, int]]]  # y, x


def composite(
    rng: np.random.Generator, ground: Callable[[np.random.Generator], np.ndarray], kinds: dict[str, list[Sprite]]
) -> Composite:
    """Things lie on a lattice, shaken, so that none hides another."""
    image = np.empty((HEIGHT, WIDTH, 3), np.float32)
    for top in range(0, HEIGHT, PATCH):
        for left in range(0, WIDTH, PATCH):
            image[top : top + PATCH, left : left + PATCH] = ground(rng)
    masks = {name: np.zeros((HEIGHT, WIDTH), bool) for name in kinds}
    middles: dict[str, list[tuple[int, int]]] = {name: [] for name in kinds}
    step = 2 * THING
    cells = [(y, x) for y in range(step, HEIGHT - step, step) for x in range(step, WIDTH - step, step)]
    rng.shuffle(cells)
    places: Iterator[tuple[int, int]] = iter(cells)
    for name, sprites in kinds.items():
        for _ in range(COPIES):
            colours, cover = sprites[rng.integers(len(sprites))]
            y, x = (int(value + rng.integers(-THING // 3, THING // 3)) for value in next(places))
            height, width = cover.shape
            window = np.s_[y - height // 2 : y - height // 2 + height, x - width // 2 : x - width // 2 + width]
            image[window] += cover[..., None] * (colours - image[window])
            masks[name][window] |= cover > 0.5
            middles[name].append((y, x))
    return Composite(image.clip(0, 255).astype(np.uint8), masks, middles)


def drawn(rng: np.random.Generator) -> Composite:
    from tlg.world import NOVEL, scenes
    from tlg.world.textures import BACKGROUNDS
    from tlg.world.vocabulary import CLASSES

    def sprite(name: str) -> Sprite:
        painted = scenes.paint(rng, CLASSES[name], THING / 2)
        return painted.rgb * 255, painted.cover

    def ground(rng: np.random.Generator) -> np.ndarray:
        return BACKGROUNDS[str(rng.choice(list(BACKGROUNDS)))](rng, PATCH) * 255

    others = [name for name in NOVEL if name not in DRAWN_CLASSES]
    kinds = {name: [sprite(name) for _ in range(COPIES)] for name in DRAWN_CLASSES}
    return composite(rng, ground, kinds | {"": [sprite(str(rng.choice(others))) for _ in range(COPIES)]})


def photographed(rng: np.random.Generator) -> Composite:
    def sprites(folder: str) -> list[Sprite]:
        found = []
        for mask_file in sorted((PHOTOGRAPHS / folder).glob("*.png")):
            cover = Image.open(mask_file).convert("L")
            box = cover.getbbox()
            picture = Image.open(mask_file.with_suffix(".jpg")).convert("RGB").crop(box)
            shrink = THING / max(picture.size)
            size = tuple(max(1, round(side * shrink)) for side in picture.size)
            small = np.asarray(cover.crop(box).resize(size, Image.Resampling.BOX), np.float32) / 255
            found.append((np.asarray(picture.resize(size, Image.Resampling.BOX), np.float32), small))
        return found

    files = [file for folder in PHOTO_GROUND for file in sorted((PHOTOGRAPHS / folder).glob("*.jpg"))]

    def ground(rng: np.random.Generator) -> np.ndarray:
        picture = Image.open(files[rng.integers(len(files))]).convert("RGB")
        return np.asarray(picture.resize((PATCH, PATCH), Image.Resampling.BICUBIC), np.float32)

    kinds = {name: sprites(folder) for name, folder in PHOTO_CLASSES.items()}
    return composite(rng, ground, kinds | {"": sprites("033_kite") + sprites("040_monks")})


WORLDS = {"drawn": (drawn, "tlg-tiny"), "photographs": (photographed, "tlg-photo")}


def exemplar_set(seen: Composite, kind: str):
    from tlg.exemplars import LoadedClass, LoadedExemplar, LoadedExemplars

    def window(name: str, y: int, x: int) -> LoadedExemplar:
        top, left = min(max(0, y - CUT // 2), HEIGHT - CUT), min(max(0, x - CUT // 2), WIDTH - CUT)
        return LoadedExemplar(f"{name}{y},{x}", seen.image[top : top + CUT, left : left + CUT].copy())

    def shown(name: str) -> tuple[LoadedExemplar, ...]:
        if kind == "whole with masks":
            return (LoadedExemplar(name, seen.image, seen.masks[name]),)
        return tuple(window(name, *middle) for middle in seen.middles[name][:SHOTS])

    names = [name for name in seen.masks if name]
    classes = tuple(LoadedClass(name, number, None, (), shown(name)) for number, name in enumerate(names, start=1))
    negatives = () if kind == "whole with masks" else tuple(window("", *middle) for middle in seen.middles[""][:SHOTS])
    return LoadedExemplars("tiles", classes, negatives, f"{kind}")


def iou(truth: np.ndarray, mask: np.ndarray) -> float:
    return float((truth & mask).sum() / max(1, (truth | mask).sum()))


def answer_here(files: list[str], model: str, kind: str, tile: str) -> None:
    from tlg.annotators.protocol import AnnotateParams
    from tlg.annotators.registry import load_model
    from tlg.pictures import Picture

    seen, asked = (read(file) for file in files)
    annotator = load_model(model, "cpu").with_exemplars(
        exemplar_set(seen, kind), AnnotateParams(tile=int(tile) if tile.isdigit() else tile)
    )
    start = time.perf_counter()
    (answers,) = annotator.annotate([Picture(asked.image, HEIGHT, WIDTH)])
    seconds = time.perf_counter() - start
    said = {
        answer.class_name: [iou(asked.masks[answer.class_name], answer.mask), answer.score, answer.presence]
        for answer in answers
    }
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print("\x00" + json.dumps({"said": said, "seconds": seconds, "gb": peak}))


def read(file: str) -> Composite:
    with np.load(file) as held:
        names = [name.removeprefix("mask ") for name in held.files if name.startswith("mask ")]
        masks = {name: np.unpackbits(held[f"mask {name}"], count=HEIGHT * WIDTH) for name in names}
        shaped = {name: mask.reshape(HEIGHT, WIDTH).astype(bool) for name, mask in masks.items()}
        return Composite(held["image"], shaped, {name: [tuple(one) for one in held[f"at {name}"]] for name in names})


def write(seen: Composite, file: str) -> None:
    arrays = {f"mask {name}": np.packbits(mask) for name, mask in seen.masks.items()}
    arrays |= {f"at {name}": np.array(middles) for name, middles in seen.middles.items()}
    np.savez(file, image=seen.image, **arrays)


def answer_apart(files: list[str], model: str, kind: str, tile: str) -> dict:
    """In a process of its own, so that its peak is its own."""
    environment = {**os.environ, "PYTHONPATH": f"{REPOSITORY}:{Path(__file__).parent}"}
    command = [sys.executable, __file__, "--answer", *files, model, kind, tile]
    ended = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ended.stdout.rpartition("\x00")[2])


def measure(worlds: tuple[str, ...] = ("drawn", "photographs"), seed: int = SEED) -> list[Row]:
    rows = []
    for world in worlds:
        make, model = WORLDS[world]
        if world == "photographs" and not PHOTOGRAPHS.exists():
            rows.append(Row(f"{world}: IoU gained by tiles", None, "points", ">= 20", inputs=f"no {PHOTOGRAPHS.name}"))
            continue
        with tempfile.TemporaryDirectory() as folder:
            files = [f"{folder}/{number}.npz" for number in range(2)]
            for number, file in enumerate(files):
                write(make(np.random.default_rng([seed, number])), file)
            for kind in ("cut", "whole with masks"):
                rows += compared(files, model, f"{world}, exemplars {kind}")
    return rows


def compared(files: list[str], model: str, what: str) -> list[Row]:
    kind = what.partition("exemplars ")[2]
    found = {tile: answer_apart(files, model, kind, tile) for tile in ("off", "auto")}
    mean = {tile: 100 * float(np.mean([one[0] for one in said["said"].values()])) for tile, said in found.items()}
    inputs = f"{model}, {WIDTH}x{HEIGHT}, {COPIES} things of {THING} px of each class; " + json.dumps(
        {
            tile: {name: [round(value, 3) for value in one] for name, one in said["said"].items()}
            for tile, said in found.items()
        }
    )
    return [
        Row(f"{what}: mean IoU without tiles", mean["off"], "points"),
        Row(f"{what}: mean IoU with tiles", mean["auto"], "points", inputs=inputs),
        Row(f"{what}: IoU gained by tiles", mean["auto"] - mean["off"], "points", ">= 20"),
        Row(f"{what}: peak memory", found["auto"]["gb"], "GB", "< 3"),
        Row(f"{what}: a picture", found["auto"]["seconds"], "s", inputs=f"without: {found['off']['seconds']:.2f} s"),
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--worlds", nargs="+", default=list(WORLDS))
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--answer", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.answer:
        *files, model, kind, tile = arguments.answer
        answer_here(files, model, kind, tile)
    else:
        for row in measure(tuple(arguments.worlds), arguments.seed):
            print(f"{row.what}: {row.value} {row.unit} {row.aim} {row.inputs}")
