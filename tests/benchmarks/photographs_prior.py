"""The exemplar prior on real photographs, in one command: its masks, their mIoU, and presence. Nothing is trained.

    python tests/benchmarks/photographs_prior.py --out runs/prior [--collection icoseg]

A support is its photograph and its class's name; label maps serve the scorer, and tell which classes a photograph
shows (its image-level label), nothing more. The background is 120 photographs that show none of the asked classes,
without their labels.

`msrc`: 591 photographs, three folds of five novel classes, the fixed episodes and their independent scorer. Presence
is measured on photographs outside the background, each class's images against those without it.
`icoseg`: 19 groups of near-duplicates, ten episodes a group drawn with the seed, the photographs of other groups as
background; the prior's settings were not chosen on them.

A killed run goes on where it was, if everything that the answers depend on is still the same.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import io
import json
import random
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from harness import RESULTS, Row
from PIL import Image
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tlg import pictures
from tlg.answers.metrics import IoUTally
from tlg.datasets.episodes import IGNORED, Collection, Episode, EpisodesFile, Photo, photos_of, queries_at_random
from tlg.datasets.folder import IndexMapFolder, PairFolder
from tlg.evidence import Background, FittedPrior, Prior, background, cosegment, descriptors, exemplar, presence, refine
from tlg.hub.backbones import load_backbone
from tlg.network.features import Features

ROOT = Path(__file__).resolve().parents[2]
SIDE = 384
ENCODED_AT_ONCE = 16
BACKGROUND_IMAGES = 120
PRESENCE_DRAWS = 8
SHOTS = (1, 5)
GROUP_EPISODES = 10
SETTINGS_FILE = "settings.json"
PRIOR_MODULES = (background, cosegment, descriptors, exemplar, presence, refine)
# (entry of the result, figure) -> what it should reach.
AIMS = {
    "msrc": {
        ("1_shot", "mean_mIoU"): "50",
        ("5_shot", "mean_mIoU"): "55",
        ("presence_1_shot", "AUC"): "0.90",
        ("presence_5_shot", "AUC"): "0.97",
    },
    "icoseg": {
        ("1_shot", "mean_mIoU"): "",
        ("1_shot", "all-foreground"): "",
        ("5_shot", "mean_mIoU"): "",
        ("5_shot", "all-foreground"): "",
    },
}


@dataclass(frozen=True)
class Part:
    """Classes asked together: a fold, or one group of pictures."""

    name: str
    novel: list[int]
    episodes: dict[int, list[Episode]]  # by shots

    def files(self, shots: int) -> Iterator[tuple[str, Episode]]:
        """(the scorer's name of the mask, episode)."""
        for index, episode in enumerate(self.episodes[shots]):
            yield f"{self.name}_{shots}shot_{index:03d}.png", episode


@dataclass(frozen=True)
class Study:
    """A collection with its episodes; its photographs are encoded once, when first needed."""

    collection: Collection
    parts: list[Part]
    weights: Path
    seed: int
    progress: Progress

    @cached_property
    def photos(self) -> dict[str, Photo]:
        return {photo.id: photo for photo in sorted(self.collection.photos, key=lambda photo: photo.id)}

    def showing(self, class_ids: Iterable[int]) -> list[str]:
        return [name for name, photo in self.photos.items() if photo.classes & set(class_ids)]

    def without(self, class_ids: Iterable[int]) -> list[str]:
        return [name for name, photo in self.photos.items() if not photo.classes & set(class_ids)]

    def settings(self) -> dict[str, object]:
        """Everything that the answers depend on."""
        code = [Path(__file__), *(Path(str(module.__file__)) for module in PRIOR_MODULES)]
        asked = [
            [file, episode.query.id, *(photo.id for photo in episode.supports)]
            for part in self.parts
            for shots in SHOTS
            for file, episode in part.files(shots)
        ]
        return {
            "collection": self.collection.name,
            "photographs": digest(photo.image.read_bytes() for photo in self.photos.values()),
            "episodes": digest([json.dumps(asked).encode()]),
            "weights": digest([self.weights.read_bytes()]),
            "seed": self.seed,
            "code": digest(file.read_bytes() for file in code),
        }

    def pixels(self, name: str) -> torch.Tensor:
        return pictures.to_network_input(pictures.decode(self.photos[name].image.read_bytes()).pixels, SIDE)

    @cached_property
    def encoded(self) -> tuple[Features, Features, dict[str, int]]:
        """What the prior reads of every photograph, what presence reads, and each photograph's row."""
        names = list(self.photos)
        backbone = load_backbone("mobilenet_v2", str(self.weights))
        batches = []
        task = self.progress.add_task("photographs encoded", total=len(names))
        with torch.inference_mode():
            for start in range(0, len(names), ENCODED_AT_ONCE):
                some = names[start : start + ENCODED_AT_ONCE]
                maps = backbone(torch.stack([self.pixels(name) for name in some]))
                # The prior reads the deep end only; the shallow maps would fill the memory.
                batches.append(Features([one.half() for one in maps[3:]], (SIDE, SIDE)))
                self.progress.advance(task, len(some))
        # Presence reads nothing but the deepest map's mean.
        deepest = [batch.maps[-1].float().mean((2, 3), keepdim=True) for batch in batches]
        pooled = Features([torch.cat(deepest)], (SIDE, SIDE))
        return Features.cat(batches), pooled, {name: row for row, name in enumerate(names)}

    def of(self, names: Sequence[str]) -> Features:
        features, _, row = self.encoded
        return features[[row[name] for name in names]].to(torch.float32)

    def pooled_of(self, names: Sequence[str]) -> Features:
        _, pooled, row = self.encoded
        return pooled[[row[name] for name in names]]

    def background_of(self, part: Part) -> list[str]:
        return random.Random(self.seed).sample(self.without(part.novel), BACKGROUND_IMAGES)

    def prior_of(self, part: Part) -> Prior:
        return Prior(Background.fit([self.of(self.background_of(part))]))

    def fit(self, prior: Prior, supports: Iterable[str]) -> FittedPrior:
        return prior.fit([(self.of([name]), 0, None) for name in supports])

    def tally(self, shots: int, answered: Callable[[str, np.ndarray], np.ndarray]) -> IoUTally:
        """Counts what `answered` (file of the mask, label map) gives as the scorer does; void pixels do not count."""
        tally = IoUTally()
        for part in self.parts:
            for file, episode in part.files(shots):
                label_HW = self.collection.label_map(episode.query)
                answer_HW = answered(file, label_HW)
                tally.add(episode.class_id, answer_HW, label_HW == episode.class_id, label_HW == IGNORED)
        return tally


def digest(contents: Iterable[bytes]) -> str:
    total = hashlib.blake2b(digest_size=8)
    for content in contents:
        total.update(hashlib.blake2b(content).digest())
    return total.hexdigest()


def msrc_parts(folder: IndexMapFolder) -> list[Part]:
    file = EpisodesFile.read(folder.root / "episodes.json")
    return [
        Part(fold, file.novel_classes(fold), {shots: file.episodes(fold, shots, folder.photo) for shots in SHOTS})
        for fold in file.folds
    ]


def icoseg_parts(pairs: PairFolder, seed: int) -> list[Part]:
    """Groups too small for five shots are asked with one shot only."""
    parts = []
    for class_id in pairs.class_names:
        group = photos_of(pairs.photos, class_id)
        episodes = {
            shots: queries_at_random(group, [class_id], shots, GROUP_EPISODES, seed) if len(group) > shots else []
            for shots in SHOTS
        }
        parts.append(Part(group[0].image.parent.name, [class_id], episodes))
    return parts


def claim(out: Path, settings: dict[str, object]) -> None:
    """Makes `out` this run's folder, or ends with what differs from the run whose answers lie there."""
    file = out / SETTINGS_FILE
    found = json.loads(file.read_text()) if file.exists() else settings
    if found != settings:
        changed = ", ".join(key for key in settings if found.get(key) != settings[key])
        sys.exit(f"{out} holds answers of another run (other {changed}); give another --out or delete that folder")
    out.mkdir(parents=True, exist_ok=True)
    write_whole(file, json.dumps(settings, indent=1).encode())


def write_whole(file: Path, content: bytes) -> None:
    """Written aside first: a killed run leaves no half file."""
    aside = file.with_name(f".{file.name}")
    aside.write_bytes(content)
    aside.replace(file)


def write_masks(study: Study, part: Part, prior: Prior, waiting: list[tuple[str, Episode]], out: Path) -> None:
    for file, episode in study.progress.track(waiting, description=f"masks of {part.name}"):
        fitted = study.fit(prior, [photo.id for photo in episode.supports])
        query = episode.query.id
        map_HW = fitted.maps(study.of([query]), study.pixels(query)[None])[0, 0]
        content = io.BytesIO()
        Image.fromarray((map_HW > 0.5).numpy().astype(np.uint8) * 255).save(content, "PNG", compress_level=1)
        write_whole(out / file, content.getvalue())


def measure_presence(study: Study, part: Part, prior: Prior, shots: int) -> list[tuple[int, float, float, float]]:
    """Per class and draw: class, AUC, share of class-free images kept, share of class images lost."""
    held = set(study.background_of(part))
    rows = []
    for label in study.progress.track(part.novel, description=f"presence of {part.name}"):
        showing = study.showing([label])
        without = [name for name in study.without([label]) if name not in held]
        rng = random.Random(label)
        for _ in range(PRESENCE_DRAWS):
            rng.shuffle(showing)
            fitted = study.fit(prior, showing[:shots])
            present = fitted.presence(study.pooled_of(showing[shots:]))[:, 0]
            absent = fitted.presence(study.pooled_of(without))[:, 0]
            above = (present[:, None] > absent[None]).float() + 0.5 * (present[:, None] == absent[None]).float()
            kept, lost = (absent > 0.5).float().mean(), (present <= 0.5).float().mean()
            rows.append((label, float(above.mean()), float(kept), float(lost)))
    return rows


def answer(study: Study, part: Part, out: Path) -> None:
    """Writes what `out` lacks of a part: its masks, and for parts of several classes presence."""
    files = [pair for shots in SHOTS for pair in part.files(shots)]
    waiting = [pair for pair in files if not (out / pair[0]).exists()]
    unmeasured = [shots for shots in SHOTS if len(part.novel) > 1 and not presence_file(out, part, shots).exists()]
    if not waiting and not unmeasured:
        return
    prior = study.prior_of(part)
    write_masks(study, part, prior, waiting, out)
    for shots in unmeasured:
        rows = measure_presence(study, part, prior, shots)
        write_whole(presence_file(out, part, shots), json.dumps(rows).encode())


def presence_file(out: Path, part: Part, shots: int) -> Path:
    return out / f"presence_{part.name}_{shots}shot.json"


def presence_summary(study: Study, out: Path, shots: int) -> dict[str, object]:
    """Means over classes and draws."""
    rows = [row for part in study.parts for row in json.loads(presence_file(out, part, shots).read_text())]
    table = np.array(rows)
    by_class = {int(label): float(table[table[:, 0] == label, 1].mean()) for label in np.unique(table[:, 0])}
    worst = min(by_class, key=lambda label: by_class[label])
    auc, kept, lost = table[:, 1:].mean(0)
    return {
        "AUC": round(float(auc), 4),
        "lowest AUC of a class": f"{by_class[worst]:.3f} ({study.collection.class_names[worst]})",
        "class-free images that get a mask": round(float(kept), 3),
        "class images that lose theirs": round(float(lost), 3),
    }


def independent_scorer(shared: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("score", shared / "bench" / "score.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(collection: str, shared: Path, out: Path, seed: int) -> dict:
    """All figures of one collection; its masks lie in `out`."""
    columns = (TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    weights = shared / "weights" / "mobilenet_v2_imagenet.safetensors"
    with Progress(*columns) as progress:
        if collection == "msrc":
            folder = IndexMapFolder(shared / "data" / "msrc_v2")
            study = Study(folder, msrc_parts(folder), weights, seed, progress)
        else:
            pairs = PairFolder(shared / "data" / "icoseg")
            study = Study(pairs, icoseg_parts(pairs, seed), weights, seed, progress)
        claim(out, study.settings())
        for part in study.parts:
            answer(study, part, out)
    if collection == "msrc":
        scored = independent_scorer(shared).score(out, shared / "data" / "msrc_v2" / "episodes.json")
        return scored | {f"presence_{shots}_shot": presence_summary(study, out, shots) for shots in SHOTS}
    return {f"{shots}_shot": icoseg_scores(study, out, shots) for shots in SHOTS}


def icoseg_scores(study: Study, out: Path, shots: int) -> dict[str, object]:
    def own(file: str, label_HW: np.ndarray) -> np.ndarray:
        height, width = label_HW.shape
        return np.asarray(Image.open(out / file).resize((width, height), Image.Resampling.NEAREST)) > 0

    prior = study.tally(shots, own)
    everything = study.tally(shots, lambda _, label_HW: np.ones(label_HW.shape, bool))
    return {
        "mean_mIoU": round(100 * prior.mean_iou(), 1),
        "all-foreground": round(100 * everything.mean_iou(), 1),
        "groups": len(prior.class_union),
        "by group": {
            one.name: round(100 * prior.class_iou(*one.novel), 1) for one in study.parts if one.episodes[shots]
        },
    }


def measure(shared: Path = ROOT.parent / "shared", out: Path = RESULTS / "photographs") -> list[Row]:
    """Both collections; rows without a figure where the photographs are missing."""
    rows = []
    for collection, aims in AIMS.items():
        present = (shared / "data").is_dir()
        result = run(collection, shared, out / collection, 0) if present else {}
        for (key, figure), aim in aims.items():
            value = result[key][figure] if present else None
            unit = "" if figure == "AUC" else "mIoU"
            inputs = f"{collection}, mobilenet_v2, {SIDE} px" if present else f"no photographs at {shared.name}/data"
            rows.append(Row(f"exemplar prior, {collection}, {key}, {figure}", value, unit, aim, inputs=inputs))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shared", type=Path, default=ROOT.parent / "shared")
    parser.add_argument("--out", type=Path, required=True, help="Folder for the masks")
    parser.add_argument("--collection", choices=list(AIMS), default="msrc")
    parser.add_argument("--seed", type=int, default=0, help="Draws the background, and icoseg's episodes")
    args = parser.parse_args()
    print(json.dumps(run(args.collection, args.shared, args.out, args.seed), indent=1))


if __name__ == "__main__":
    main()
