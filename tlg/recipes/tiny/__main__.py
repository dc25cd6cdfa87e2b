"""`python -m tlg.recipes.tiny STAGE...`: makes the bundled model, stage by stage; a stopped stage goes on where it was.

Scenes, backbone, CLIP and TLG land in the work folder; `export` writes the model folder, `evaluate` and `ablate`
print their figures and write them as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from tlg.allocation import keep_freed_memory
from tlg.evidence.tiny_clip import build_tiny_clip
from tlg.hub.backbones import load_backbone
from tlg.hub.folder import save_model
from tlg.network.tlg import TLG
from tlg.recipes.tiny.backbone import HANDOVER_FILE, learn_backbone
from tlg.recipes.tiny.bank import SceneBank, scene_bank
from tlg.recipes.tiny.clip import learn_clip, read_clip
from tlg.recipes.tiny.config import Recipe, SegmenterStage, read_recipe
from tlg.recipes.tiny.evaluate import presence_auc, segmentation_figures
from tlg.recipes.tiny.parts import Parts, Words
from tlg.recipes.tiny.results import results_page
from tlg.recipes.tiny.segmenter import learn_segmenter
from tlg.world import BASE, CLASSES

log = logging.getLogger("tlg.recipes.tiny")

TIMES_FILE = "times.json"
# What each ablation switches off in the network's spec.
ABLATIONS = {"full": {}, "without HA": {"aggregation": False}, "without HT": {"transport": False},
             "without HC": {"text": False}, "without pseudo-mask": {"prior": False}}  # fmt: skip


class Workshop:
    """The recipe's stages over one work folder."""

    def __init__(self, recipe: Recipe, work: Path) -> None:
        self.recipe, self.work = recipe, work

    def bank(self, name: str) -> SceneBank:
        classes, offset = {"base": (BASE, 0), "all": (tuple(CLASSES), 1)}[name]
        stage = self.recipe.bank
        return scene_bank(self.work / "scenes" / name, stage.count, stage.size, classes, stage.seed + offset)

    def scenes(self) -> None:
        for name in ("base", "all"):
            self.bank(name)

    def backbone(self) -> None:
        weights = learn_backbone(self.recipe.backbone, self.bank("base"), self.work)
        save_file(weights, self.work / "backbone.safetensors")

    def clip(self) -> None:
        trunk = load_file(self.work / HANDOVER_FILE)
        learn_clip(self.recipe.clip, self.bank("all"), trunk, self.work, self.work / "clip")

    def segmenter(self) -> None:
        net = self.learn(self.recipe.segmenter, self.work)
        save_file(
            {key: value.contiguous() for key, value in net.head.state_dict().items()}, self.work / "head.safetensors"
        )

    def learn(self, stage: SegmenterStage, work: Path) -> TLG:
        backbone = load_backbone("tiny", str(self.work / "backbone.safetensors"))
        return learn_segmenter(stage, self.bank("base"), backbone, self.words(), work)

    def words(self) -> Words:
        return Words(build_tiny_clip(*read_clip(self.work / "clip")))

    def trained(self) -> TLG:
        net = TLG(self.recipe.segmenter.network, load_backbone("tiny", str(self.work / "backbone.safetensors")))
        net.head.load_state_dict(load_file(self.work / "head.safetensors"))
        return net.eval()

    def export(self) -> None:
        """The model folder, as `tlg.hub.zoo.load` reads it."""
        net, side = self.trained(), self.recipe.segmenter.side
        clip = build_tiny_clip(*read_clip(self.work / "clip"))
        folder = self.work / "tlg-tiny"
        save_model(folder, "tlg-tiny", net.backbone, net, clip=clip, input_size=(side, side))
        reports = (self.read(name) for name in (TIMES_FILE, "evaluation.json", "ablation.json"))
        (folder / "RESULTS.md").write_text(results_page(self.recipe, *reports))

    def evaluate(self) -> None:
        parts, stage, side = Parts(self.trained(), self.words()), self.recipe.evaluation, self.recipe.segmenter.side
        report: dict[str, Any] = {
            f"{shots}-shot": dataclasses.asdict(segmentation_figures(parts, side, stage.scenes, shots, stage.seed))
            for shots in stage.shots
        }
        report["presence_auc"] = presence_auc(parts, side, stage.scenes, stage.seed)
        self.report("evaluation.json", report)

    def ablate(self) -> None:
        """Seed by seed, so that a stopped stage leaves complete rows."""
        stage = self.recipe.evaluation
        report: dict[str, list[float]] = {name: [] for name in ABLATIONS}
        for seed in stage.ablation_seeds:
            for name, change in ABLATIONS.items():
                spec = self.recipe.segmenter.network.model_copy(update=change)
                learning = self.recipe.segmenter.model_copy(
                    update={"network": spec, "seed": seed, "rounds": (stage.ablation_round,)}
                )
                net = self.learn(learning, self.work / "ablation" / f"{name} {seed}")
                parts = Parts(net, self.words())
                figures = segmentation_figures(parts, learning.side, stage.ablation_scenes, 1, stage.seed)
                report[name].append(figures.miou)
                log.info("%s, seed %d: mIoU %.3f", name, seed, figures.miou)
            self.report("ablation.json", report)

    def read(self, name: str) -> dict:
        file = self.work / name
        return json.loads(file.read_text()) if file.exists() else {}

    def took(self, stage: str, seconds: float) -> None:
        """Adds to the time the stage has taken so far."""
        times = self.read(TIMES_FILE)
        times[stage] = times.get(stage, 0) + seconds
        (self.work / TIMES_FILE).write_text(json.dumps(times, indent=1) + "\n")

    def report(self, name: str, content: dict) -> None:
        text = json.dumps(content, indent=1)
        (self.work / name).write_text(text + "\n")
        print(text)


STAGES: dict[str, Callable[[Workshop], None]] = {
    "scenes": Workshop.scenes,
    "backbone": Workshop.backbone,
    "clip": Workshop.clip,
    "segmenter": Workshop.segmenter,
    "export": Workshop.export,
    "evaluate": Workshop.evaluate,
    "ablate": Workshop.ablate,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*STAGES])
    parser.add_argument("--recipe", type=Path, default=Path("configs/models/tlg-tiny.yaml"))
    parser.add_argument("--work", type=Path, default=Path("runs/tlg-tiny"), help="scenes, checkpoints and reports")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    workshop = Workshop(read_recipe(options.recipe), options.work)
    for name in options.stages:
        started = time.perf_counter()
        STAGES[name](workshop)
        workshop.took(name, time.perf_counter() - started)
        log.info("stage %s took %.0f s", name, time.perf_counter() - started)


if __name__ == "__main__":
    main()
