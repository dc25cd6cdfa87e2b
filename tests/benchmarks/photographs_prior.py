"""The exemplar prior on real photographs, in one command: masks in the scorer's format, mIoU, and presence.

    python tests/benchmarks/photographs_prior.py --shared ../shared --out masks [--refinement guided]

Nothing is trained. A support is its photograph and its class's name; label maps serve the scorer, and tell
which classes a photograph shows (its image-level label), nothing more. The
background is 120 photographs of the fold that show none of its novel classes, without their labels. Presence is
measured on photographs outside that background, each class's images against those without it.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tlg import images
from tlg.model.backbone import build_backbone
from tlg.model.features import Features
from tlg.prior import Background, FittedPrior, Prior

SIDE = 384
BACKGROUND_IMAGES = 120
PRESENCE_DRAWS = 8
SHOTS = ("1_shot", "5_shot")


class Photographs:
    """All photographs, encoded once. Labels are image-level: which classes an image shows."""

    def __init__(self, data: Path, weights: Path) -> None:
        self.folder = data / "images"
        self.names = sorted(path.stem for path in self.folder.glob("*.jpg"))
        self.row = {name: row for row, name in enumerate(self.names)}
        backbone = build_backbone("mobilenet_v2", str(weights))
        parts = []
        with torch.inference_mode():
            for start in range(0, len(self.names), 16):
                maps = backbone(torch.stack([self.pixels(name) for name in self.names[start : start + 16]]))
                # The prior reads the deep end only; the shallow maps would fill the memory.
                parts.append(Features([one.half() for one in maps[3:]], (SIDE, SIDE)))
        self.features = Features.cat(parts)
        # Presence reads nothing but the deepest map's mean.
        deepest = [part.maps[-1].float().mean((2, 3), keepdim=True) for part in parts]
        self.pooled = Features([torch.cat(deepest)], (SIDE, SIDE))
        self.shown = {name: set(np.unique(Image.open(data / "labels" / f"{name}.png"))) - {0} for name in self.names}

    def pixels(self, name: str) -> torch.Tensor:
        return images.to_network_input(images.decode((self.folder / f"{name}.jpg").read_bytes()).pixels, SIDE)

    def of(self, names: list[str]) -> Features:
        return self.features[[self.row[name] for name in names]].to(torch.float32)

    def pooled_of(self, names: list[str]) -> Features:
        return self.pooled[[self.row[name] for name in names]]


def background(photographs: Photographs, novel: list[int], seed: int) -> tuple[Background, set[str]]:
    base = [name for name in photographs.names if not photographs.shown[name] & set(novel)]
    chosen = random.Random(seed).sample(base, BACKGROUND_IMAGES)
    return Background.fit([photographs.of(chosen)]), set(chosen)


def fit(photographs: Photographs, prior: Prior, support: list[str]) -> FittedPrior:
    return prior.fit([(photographs.of([name]), 0, None) for name in support])


def answers(photographs: Photographs, folds: dict, priors: dict[str, Prior]) -> Iterator[tuple[str, np.ndarray]]:
    """(name of the scorer's file, mask) of every episode."""
    for fold, content in folds.items():
        for shots in SHOTS:
            for index, episode in enumerate(content[shots]):
                fitted = fit(photographs, priors[fold], episode["support"])
                pixels = photographs.pixels(episode["query"])[None]
                map_HW = fitted.maps(photographs.of([episode["query"]]), pixels)[0, 0]
                yield f"{fold}_{shots.replace('_', '')}_{index:03d}.png", (map_HW > 0.5).numpy()


def measure_presence(photographs: Photographs, prior: Prior, held: set[str], novel: list[int], shots: int) -> list:
    """Per class and draw: (AUC, share of class-free images kept, share of class images lost)."""
    out = []
    for label in novel:
        showing = [name for name in photographs.names if label in photographs.shown[name]]
        without = [name for name in photographs.names if label not in photographs.shown[name] and name not in held]
        rng = random.Random(label)
        for _ in range(PRESENCE_DRAWS):
            rng.shuffle(showing)
            fitted = fit(photographs, prior, showing[:shots])
            present = fitted.presence(photographs.pooled_of(showing[shots:]))[:, 0]
            absent = fitted.presence(photographs.pooled_of(without))[:, 0]
            above = (present[:, None] > absent[None]).float() + 0.5 * (present[:, None] == absent[None]).float()
            out.append(
                (float(above.mean()), float((absent > 0.5).float().mean()), float((present <= 0.5).float().mean()))
            )
    return out


def scorer(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", shared / "bench" / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2].parent / "shared")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the masks")
    parser.add_argument("--refinement", choices=("none", "guided", "pixel_adaptive"), default="guided")
    parser.add_argument("--seed", type=int, default=0, help="Draws the background")
    args = parser.parse_args()
    data = args.shared / "data" / "msrc_v2"
    folds = json.loads((data / "episodes.json").read_text())["folds"]
    photographs = Photographs(data, args.shared / "weights" / "mobilenet_v2_imagenet.safetensors")
    args.out.mkdir(parents=True, exist_ok=True)
    drawn = {fold: background(photographs, content["novel_classes"], args.seed) for fold, content in folds.items()}
    priors = {fold: Prior(one, args.refinement) for fold, (one, _) in drawn.items()}
    for name, mask in answers(photographs, folds, priors):
        Image.fromarray(mask.astype(np.uint8) * 255).save(args.out / name, compress_level=1)
    result = scorer(args.shared).score(args.out, data / "episodes.json")
    for shots in (1, 5):
        measured = [
            row
            for fold, content in folds.items()
            for row in measure_presence(photographs, priors[fold], drawn[fold][1], content["novel_classes"], shots)
        ]
        auc, kept, lost = np.mean(measured, axis=0)
        result[f"presence_{shots}_shot"] = {
            "AUC": round(float(auc), 4),
            "class-free images that get a mask": round(float(kept), 3),
            "class images that lose theirs": round(float(lost), 3),
        }
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
