"""RESULTS.md: what the recipe did and what came out, to lie beside the weights."""

from __future__ import annotations

import statistics
from typing import Any

from tlg.recipes.tiny.config import Recipe
from tlg.world import BASE, CLASSES, NOVEL, SETTINGS


def results_page(
    recipe: Recipe, seconds: dict[str, float], evaluation: dict[str, Any], ablation: dict[str, list[float]]
) -> str:
    """Markdown; `seconds` per stage, the two reports as `evaluate` and `ablate` wrote them (empty: left out)."""
    lines = [
        "# tlg-tiny",
        "",
        f"Made by `make bundled-model` from `configs/models/tlg-tiny.yaml`. The world has {len(CLASSES)} classes on"
        f" {len(SETTINGS)} backgrounds; backbone and TLG learn from {len(BASE)} base classes, CLIP from captions of all"
        " classes.",
        "",
        "| stage | seed | seconds |",
        "| --- | --- | --- |",
        *(
            f"| {name} | {seed_of(recipe, name)} | {took:.0f} |"
            for name, took in seconds.items()
            if seed_of(recipe, name)
        ),
    ]
    if evaluation:
        lines += ["", *evaluation_lines(recipe, evaluation)]
    if ablation:
        lines += ["", *ablation_lines(recipe, ablation)]
    return "\n".join(lines) + "\n"


def seed_of(recipe: Recipe, stage: str) -> str:
    seeds = {"scenes": recipe.bank.seed, "backbone": recipe.backbone.seed, "clip": recipe.clip.seed}
    seeds |= {"segmenter": recipe.segmenter.seed, "evaluate": recipe.evaluation.seed}
    return str(seeds.get(stage, ""))


def evaluation_lines(recipe: Recipe, evaluation: dict[str, Any]) -> list[str]:
    shots = [f"{count}-shot" for count in recipe.evaluation.shots]
    rows = [
        f"| {name} | {row['miou']:.3f} | {row['prior_miou']:.3f} | {row['fb_iou']:.3f} |"
        for name in shots
        for row in [evaluation[name]]
    ]
    classes = evaluation[shots[0]]["class_iou"]
    return [
        f"## {evaluation[shots[0]]['scenes']} held-out scenes with the {len(NOVEL)} novel classes only,"
        " exemplars with image-level labels",
        "",
        "| | mIoU | prior alone | FB-IoU |",
        "| --- | --- | --- | --- |",
        *rows,
        "",
        f"ROC-AUC of presence over all pairs of scene and novel class: {evaluation['presence_auc']:.3f}.",
        "",
        f"IoU by class, {shots[0]}: " + ", ".join(f"{name} {iou:.2f}" for name, iou in classes.items()) + ".",
    ]


def ablation_lines(recipe: Recipe, ablation: dict[str, list[float]]) -> list[str]:
    stage = recipe.evaluation
    rows = [
        f"| {name} | {statistics.mean(found):.3f} | {', '.join(f'{one:.3f}' for one in found)} |"
        for name, found in ablation.items()
    ]
    return [
        f"## Ablation: 1-shot mIoU on {stage.ablation_scenes} of these scenes after a short training of"
        f" {stage.ablation_round.steps} steps",
        "",
        f"| network | mean | seeds {', '.join(map(str, stage.ablation_seeds))} |",
        "| --- | --- | --- |",
        *rows,
    ]
