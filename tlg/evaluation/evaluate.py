"""`tlg evaluate`: the published protocols, and any episodes file; a table, a JSON report, one PNG per answer."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from rich.console import Console
from rich.progress import track
from rich.table import Table

from tlg import documents, store
from tlg.answers.metrics import IoUTally
from tlg.datasets.episodes import IGNORED, Collection, Episode
from tlg.datasets.sources import EvaluationSet
from tlg.errors import SpecError
from tlg.evaluation.answerers import (
    AllForeground,
    Answerer,
    MaskReader,
    Network,
    PhotoFeatures,
    PriorAlone,
    Prototypes,
    Swapped,
)
from tlg.evaluation.hints import boxes_around, hinted, points_on
from tlg.evaluation.reading import ReadingNetwork
from tlg.evidence import Prior
from tlg.evidence.names.evidence import NameEvidence
from tlg.evidence.names.registry import OWN_CLIP, Asked, name_evidence
from tlg.evidence.text_encoder import ClassText
from tlg.hub.zoo import load
from tlg.network.reading.head import ReadingHead
from tlg.training.spec import EvaluateSpec

EPISODES_AT_ONCE = 8
# Methods that ask another one with the exemplars of another class.
SWAPPED: dict[str, Literal["tlg", "tlg_true_masks"]] = {"swapped": "tlg", "swapped_true_masks": "tlg_true_masks"}

# Methods whose supports carry hints at their true masks.
HINTS = {"tlg_boxes": boxes_around, "tlg_points": points_on}


def evaluate(config: str | Path, dump: str | Path | None = None, overrides: Sequence[str] = ()) -> dict[str, Any]:
    """Answer every episode the config asks for; returns the report that is also printed and written.

    `dump` receives `<fold>_<shots>shot_<index>.png` for every episode, 255 where the class is, at the query's size.
    """
    content = documents.read_text(store.read_text(str(config)), str(config))
    spec = documents.parse(EvaluateSpec, documents.apply_overrides(content, list(overrides)), str(config))
    folds = spec.folds or spec.benchmark.folds()
    report: dict[str, Any] = {"config": spec.model_dump(mode="json"), "shots": {}}
    results: dict[int, dict[str, dict[str, Any]]] = {shots: {} for shots in spec.shots}
    for fold in folds:
        for shots in spec.shots:
            episodes = spec.benchmark.evaluation(fold, shots, spec.episodes, spec.seed)
            answerer = build_answerer(spec, fold, episodes)
            folder = None if dump is None else Path(dump)
            tally = score_episodes(episodes, answerer, folder, f"{fold}_{shots}shot")
            results[shots][fold] = summary(tally, episodes)
            if spec.reading:
                other = Swapped(answerer, episodes.episodes, episodes.collection.class_names)
                wrong = score_episodes(episodes, other, None, f"{fold}_{shots}shot, swapped")
                results[shots][fold] |= reading(results[shots][fold]["mIoU"], wrong, episodes)
    for shots, of_fold in results.items():
        kinds = ["mIoU", "FB_IoU", *(["swapped_mIoU", "reading"] if spec.reading else [])]
        means = {f"mean_{kind}": float(np.mean([fold[kind] for fold in of_fold.values()])) for kind in kinds}
        report["shots"][str(shots)] = {"folds": of_fold, **means}
    show(report, Console())
    if spec.out is not None:
        store.write(str(spec.out), json.dumps(report, indent=1).encode())
    return report


def score_episodes(episodes: EvaluationSet, answerer: Answerer, dump: Path | None, name: str) -> IoUTally:
    """Every batch is answered, and dumped, before any of its queries' label maps is opened."""
    tally = IoUTally()
    if dump is not None:
        dump.mkdir(parents=True, exist_ok=True)
    batches = list(batched(episodes.episodes))
    index = 0
    for batch in track(batches, description=name, transient=True):
        names = [episodes.collection.class_names[episode.class_id] for episode in batch]
        answers = answerer.answer(batch, names)
        for episode, answer_HW in zip(batch, answers, strict=True):
            if dump is not None:
                Image.fromarray(answer_HW.astype(np.uint8) * 255).save(dump / f"{name}_{index:03d}.png")
            index += 1
            label_HW = episodes.collection.label_map(episode.query)
            tally.add(episode.class_id, answer_HW, label_HW == episode.class_id, void(episodes.collection, label_HW))
    return tally


def void(collection: Collection, label_HW: np.ndarray) -> np.ndarray:
    """The pixels that do not count; none where the value that says so is some class's own."""
    return label_HW == IGNORED if IGNORED not in collection.class_names else label_HW < 0


def build_answerer(spec: EvaluateSpec, fold: str, episodes: EvaluationSet) -> Answerer:
    """Whoever answers, by the method's name."""
    if spec.method in SWAPPED:
        right = build_answerer(spec.model_copy(update={"method": SWAPPED[spec.method]}), fold, episodes)
        return Swapped(right, episodes.episodes, episodes.collection.class_names)
    if spec.method == "all_foreground":
        return AllForeground()
    device = torch.device(spec.device or ("cuda" if torch.cuda.is_available() else "cpu"))
    model = load(spec.model.replace("{fold}", fold), device)
    model.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    features = PhotoFeatures(model.backbone, model.input_size[0], device, spec.cache)
    masks = mask_reader(episodes.collection)
    if spec.method == "prototypes":
        return Prototypes(features, masks)
    prior = Prior(model.background)
    if spec.method == "prior":
        return PriorAlone(prior, features)
    if model.network is None:
        raise SpecError(f"{spec.model} holds no network; method {spec.method!r} needs one, `prior` does not")

    # Where the folder leaves the choice, the backbone speaks, whose features are kept: a CLIP would look at pictures.
    @lru_cache(None)
    def source(name: str) -> NameEvidence | None:
        if spec.without == "names":
            return None
        clip = model.clip if model.names == OWN_CLIP else None
        text = None if clip is None else clip.encode([ClassText(name)])
        question = Asked([name], model.backbone, model.input_size, clip, text, model.kinds, model.open_clip)
        return name_evidence(model.names, question)

    given = masks if spec.method in ("tlg_true_masks", "pixel") else None
    if spec.method in HINTS:
        names = episodes.collection.class_names
        given = hinted(masks, HINTS[spec.method], features, lambda class_id: source(names[class_id]))
    if isinstance(model.network.head, ReadingHead):
        model.network.head.looks = 1 if spec.without == "second look" else 2
        model.network.head.glances = spec.without != "glance"
        return ReadingNetwork(model.network, prior, features, spec.mirrored, given, source, spec.without)
    if spec.without is not None:
        raise SpecError(
            f"without: {spec.without}: {spec.model} has no such part; networks of the behaviour 'reading' do, and this"
            f" network's is '{model.network.spec.behaviour}'. Leave `without` out, or choose tlg-photo"
        )
    query_prior = None if spec.method == "pixel" else prior
    encoder = model.text_encoder(str(device)) if model.network.spec.text else None
    return Network(model.network, query_prior, encoder, features, spec.mirrored, given, source)


def summary(tally: IoUTally, episodes: EvaluationSet) -> dict[str, Any]:
    names = episodes.collection.class_names
    return {
        "mIoU": 100 * tally.mean_iou(episodes.novel_classes),
        "FB_IoU": 100 * tally.fb_iou(),
        "classes": {names[class_id]: 100 * tally.class_iou(class_id) for class_id in episodes.novel_classes},
        "episodes": tally.episodes,
    }


def reading(right: float, wrong: IoUTally, episodes: EvaluationSet) -> dict[str, float]:
    """How much of the right class is still marked with another class's exemplars, and how much of the figure is not."""
    still = 100 * wrong.mean_iou(episodes.novel_classes)
    return {"swapped_mIoU": still, "reading": right - still}


def show(report: dict[str, Any], console: Console) -> None:
    for shots, result in report["shots"].items():
        table = Table(title=f"{shots}-shot, {report['config']['method']}")
        for column in ("fold", "mIoU", "FB-IoU", "classes"):
            table.add_column(column)
        for fold, row in result["folds"].items():
            classes = ", ".join(f"{name} {value:.1f}" for name, value in list(row["classes"].items())[:20])
            table.add_row(fold, f"{row['mIoU']:.1f}", f"{row['FB_IoU']:.1f}", classes)
        table.add_row("mean", f"{result['mean_mIoU']:.1f}", f"{result['mean_FB_IoU']:.1f}", "")
        if "mean_reading" in result:
            table.caption = f"another class's exemplars: {result['mean_swapped_mIoU']:.1f}, so reading is" + (
                f" {result['mean_reading']:.1f}"
            )
        console.print(table)


def batched(episodes: Sequence[Episode]) -> Iterator[list[Episode]]:
    for start in range(0, len(episodes), EPISODES_AT_ONCE):
        yield list(episodes[start : start + EPISODES_AT_ONCE])


def mask_reader(collection: Collection) -> MaskReader:
    """Reads supports' true masks, for the pixel-labelled baselines alone."""
    return lambda photo, class_id: collection.label_map(photo) == class_id
