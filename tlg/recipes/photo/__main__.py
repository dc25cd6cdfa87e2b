"""`python -m tlg.recipes.photo STAGE...`: makes `tlg-photo`, stage by stage; a stopped stage goes on where it was.

`bank` makes pictures and keeps what the backbone makes of them, `kinds` teaches kinds of things by name, `train` trains
the head, `export` writes the model folder. A fold other than `none` leaves out the photographs and the classes that its
episodes are judged on.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from tlg.allocation import keep_freed_memory
from tlg.evidence.background import Background
from tlg.evidence.exemplar import Prior
from tlg.evidence.names.taught import TaughtKinds
from tlg.hub.backbones import load_backbone
from tlg.hub.folder import tensors
from tlg.network.tlg import TLG
from tlg.recipes.photo.bank import Bank, Witnesses, drawn_bank, photo_bank, plain_bank
from tlg.recipes.photo.config import Recipe, read_recipe
from tlg.recipes.photo.episodes import EpisodeDrawer
from tlg.recipes.photo.export import NAME, export, fitted_background
from tlg.recipes.photo.kinds import as_bank_names, kinds_of_fold, taught_kinds
from tlg.recipes.photo.photographs import NO_FOLD, base_photographs, class_names
from tlg.recipes.photo.training import learn_head

log = logging.getLogger("tlg.recipes.photo")

TIMES_FILE = "times.json"
HEAD_FILE = "head.safetensors"
BACKGROUND_FILE = "background.safetensors"
KINDS_FILE = "kinds.safetensors"


class Workshop:
    """The recipe's stages over one work folder, of which every fold has a part."""

    def __init__(self, recipe: Recipe, fold: str, work: Path) -> None:
        self.recipe, self.fold = recipe, fold
        self.work = work if fold == NO_FOLD else work / f"fold-{fold}"
        self.backbone = load_backbone(recipe.backbone.name, recipe.backbone.weights)
        self.photographs = base_photographs(recipe.data, fold)

    def background(self) -> Background:
        """Fitted once: banks and the model hold the same."""
        file = self.work / BACKGROUND_FILE
        if not file.exists():
            self.work.mkdir(parents=True, exist_ok=True)
            fitted = fitted_background(self.backbone, self.photographs, self.recipe.bank.side)
            save_file(fitted.tensors(), file)
        return Background.from_tensors(load_file(file))

    def banks(self) -> tuple[Bank, Bank, Bank]:
        """Plain photographs, pictures made of them, drawn pictures."""
        data = self.recipe.data
        witnesses = Witnesses(self.backbone, class_names(data), Prior(self.background()))
        rest = (self.recipe.bank, data, self.fold, witnesses)
        return (
            plain_bank(self.work / "plain", *rest),
            photo_bank(self.work / "photo", *rest),
            drawn_bank(self.work / "drawn", *rest),
        )

    def bank(self) -> None:
        log.info("pictures: %s", [len(bank) for bank in self.banks()])

    def kinds(self) -> None:
        plain, photo, _ = self.banks()
        taught, _ = self.taught(plain, photo)
        if taught is not None:
            save_file(tensors(taught), self.work / KINDS_FILE)

    def taught(self, plain: Bank, photo: Bank) -> tuple[TaughtKinds | None, tuple[Bank, Bank]]:
        """What was taught by name, and the banks with what it says of their pictures."""
        data, kinds = self.recipe.data, kinds_of_fold(self.recipe.data, self.fold)
        if not kinds:
            return None, (plain, photo)
        taught, told = taught_kinds(self.recipe.kinds, self.backbone, [plain, photo], kinds, self.work)
        with_names = [
            replace(bank, taught=as_bank_names(self.work / name, taught, places, data))
            for bank, name, places in zip((plain, photo), ("plain", "photo"), told, strict=True)
        ]
        return taught, (with_names[0], with_names[1])

    def train(self) -> None:
        plain, photo, drawn = self.banks()
        _, (plain, photo) = self.taught(plain, photo)
        crowds = self.recipe.bank.drawn.crowds
        groups = [
            (plain, ["plain"] * len(plain)),
            (photo, ["photo"] * len(photo)),
            (drawn, ["crowd"] * crowds + ["flaw"] * (len(drawn) - crowds)),
        ]
        stage = self.recipe.training
        drawer = EpisodeDrawer(groups, stage.mix)
        log.info("pictures to ask: %s", {group: len(pictures) for group, pictures in drawer.groups.items()})
        net = learn_head(stage, drawer, self.backbone, self.recipe.bank.side, self.work)
        save_file(tensors(net.head), self.work / HEAD_FILE)

    def export(self) -> None:
        net = TLG(self.recipe.training.network, self.backbone)
        net.head.load_state_dict(load_file(self.work / HEAD_FILE))
        side, weights = self.recipe.bank.side, self.recipe.backbone.weights
        kinds, taught = kinds_of_fold(self.recipe.data, self.fold), None
        if kinds:
            taught = TaughtKinds(self.backbone, list(kinds), self.recipe.kinds.width)
            taught.load_state_dict(load_file(self.work / KINDS_FILE))
        export(net.eval(), self.work / NAME, self.background(), taught, side, weights)

    def took(self, stage: str, seconds: float) -> None:
        """Adds to the time the stage has taken so far."""
        file = self.work / TIMES_FILE
        times = json.loads(file.read_text()) if file.exists() else {}
        times[stage] = times.get(stage, 0) + seconds
        file.write_text(json.dumps(times, indent=1) + "\n")


STAGES: dict[str, Callable[[Workshop], None]] = {
    "bank": Workshop.bank,
    "kinds": Workshop.kinds,
    "train": Workshop.train,
    "export": Workshop.export,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stages", nargs="+", choices=[*STAGES])
    parser.add_argument("--recipe", type=Path, default=Path("configs/models/tlg-photo.yaml"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="an entry of the recipe")
    parser.add_argument("--fold", default=NO_FOLD, help="none (what ships), or a fold of the photographs' episodes")
    parser.add_argument("--work", type=Path, default=Path("runs/tlg-photo"), help="banks, checkpoints and the model")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(options.threads)
    keep_freed_memory()
    workshop = Workshop(read_recipe(options.recipe, options.set), options.fold, options.work)
    for name in options.stages:
        started = time.perf_counter()
        STAGES[name](workshop)
        workshop.took(name, time.perf_counter() - started)
        log.info("stage %s took %.0f s", name, time.perf_counter() - started)


if __name__ == "__main__":
    main()
