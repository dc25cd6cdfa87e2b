"""Stage 2: the small CLIP learns from captions of all classes, novel ones too; it never sees a mask.

Two objectives: an image agrees with its own caption and no other (CLIP's), and a phrase agrees with some cell of
an image exactly if the caption says so (which makes the vectors of cells worth comparing with text).

Shapes: B images, D dimensions of the common space, h x w cells, P phrases.
"""

from __future__ import annotations

import copy
import json
import logging
import time
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from timm.models import register_model
from torch import Tensor, nn

from tlg.evidence.tiny_clip import WordTokenizer, dense_image_vectors, pooled_agreement
from tlg.evidence.tiny_clip_towers import TinyImageTower
from tlg.recipes.tiny.bank import SceneBank
from tlg.recipes.tiny.config import ClipStage
from tlg.recipes.tiny.pixels import augmented
from tlg.recipes.tiny.progress import Resumable
from tlg.world import CLASSES, SETTINGS
from tlg.world.captions import OPENINGS, PLACES

log = logging.getLogger(__name__)

DESCRIPTION_FILE, WEIGHTS_FILE = "clip.json", "clip.safetensors"
TEMPLATES = ("{}", "a {}", "a photo of a {}.", "a picture of a {}.", "a clean origami {}.")


@register_model
def tlg_tiny_image_tower(pretrained: bool = False, **_: Any) -> TinyImageTower:
    """Registered, so that open_clip finds it by the name in the config."""
    return TinyImageTower()


def clip_loss(clip: open_clip.CLIP, images_B3TT: Tensor, captions: Tensor, phrases: Tensor, truth_BP: Tensor) -> Tensor:
    """Both objectives; the model's `logit_scale` and `logit_bias` turn a cosine into the odds that a phrase is true."""
    with torch.autocast("cpu", torch.bfloat16):
        cells_BDhw = dense_image_vectors(clip, images_B3TT)
        texts = clip.encode_text(torch.cat([captions, phrases]))
    texts = F.normalize(texts.float(), dim=-1)
    captions_BD, phrases_PD = texts[: len(captions)], texts[len(captions) :]
    cells_BDhw = cells_BDhw.float()
    scale = clip.logit_scale.exp().clamp(max=60)
    logits_BB = scale * F.normalize(cells_BDhw.mean((2, 3)), dim=-1) @ captions_BD.T
    own = torch.arange(len(logits_BB))
    contrast = (F.cross_entropy(logits_BB, own) + F.cross_entropy(logits_BB.T, own)) / 2
    pooled_BP = pooled_agreement(cells_BDhw, phrases_PD)
    odds_BP = scale * pooled_BP + clip.logit_bias
    agreement = F.binary_cross_entropy_with_logits(odds_BP, truth_BP, reduction="sum") / len(truth_BP)
    return contrast + agreement


def world_tokenizer(context_length: int) -> WordTokenizer:
    texts = [*OPENINGS, *PLACES, *TEMPLATES, *SETTINGS, *CLASSES, "a an and nothing"]
    return WordTokenizer.of_texts([*texts, *(kind.attributes for kind in CLASSES.values())], context_length)


def chosen_phrases(
    rng: np.random.Generator, bank: SceneBank, numbers: np.ndarray, count: int
) -> tuple[list[str], np.ndarray]:
    """Phrases about classes and settings, most of which some caption of the batch mentions, and the truth (B,P)."""
    said = [{*bank.present[number], bank.backgrounds[number]} for number in numbers]
    mentioned = sorted(set().union(*said))
    others = [name for name in (*CLASSES, *SETTINGS) if name not in mentioned]
    names = [*mentioned, *rng.permutation(others)[: max(count - len(mentioned), 0)]]
    truth = np.array([[name in words for name in names] for words in said], np.float32)
    spoken = [CLASSES[name].attributes if name in CLASSES and rng.random() < 0.35 else str(name) for name in names]
    return [TEMPLATES[rng.integers(len(TEMPLATES))].format(phrase) for phrase in spoken], truth


def build_clip(stage: ClipStage, vocab_size: int) -> tuple[open_clip.CLIP, dict]:
    config = copy.deepcopy(stage.model)
    config["text_cfg"]["vocab_size"] = vocab_size
    return open_clip.CLIP(**config), config


def learn_clip(stage: ClipStage, bank: SceneBank, trunk: dict[str, Tensor], work: Path, folder: Path) -> None:
    """Trains (or goes on training) from the backbone's trunk and writes config, vocabulary and weights."""
    torch.manual_seed(stage.seed)
    tokenizer = world_tokenizer(stage.model["text_cfg"]["context_length"])
    clip, config = build_clip(stage, tokenizer.vocab_size)
    clip.visual.trunk.load_state_dict(trunk)
    clip = clip.to(memory_format=torch.channels_last)
    freeze_shallow(clip)
    learnt = [weights for weights in clip.parameters() if weights.requires_grad]
    optimizer = torch.optim.AdamW(learnt, lr=stage.learning_rate, weight_decay=stage.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, stage.learning_rate, total_steps=stage.steps, pct_start=0.1
    )
    progress = Resumable(work / "clip.pt", clip=clip, optimizer=optimizer, schedule=schedule)
    started = time.perf_counter()
    for step in range(progress.step, stage.steps):
        rng = np.random.default_rng([stage.seed, step])
        numbers = np.sort(rng.choice(len(bank), stage.batch_size, replace=False))
        images_B3TT, _ = augmented(rng, bank, numbers, stage.side, stage.zoom, flip=True)
        phrases, truth_BP = chosen_phrases(rng, bank, numbers, stage.phrases)
        captions = tokenizer([bank.captions[number] for number in numbers])
        images_B3TT = images_B3TT.contiguous(memory_format=torch.channels_last)
        loss = clip_loss(clip, images_B3TT, captions, tokenizer(phrases), torch.from_numpy(truth_BP))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(learnt, 5.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0:
            log.info(
                "CLIP step %d of %d: loss %.3f, %.0f s", step, stage.steps, loss.item(), time.perf_counter() - started
            )
        progress.save(step + 1, every=200, last=stage.steps)
    save_clip(clip, config, tokenizer, folder)


def freeze_shallow(clip: open_clip.CLIP) -> None:
    """Edges and textures stay as the backbone learned them: they are most of the cost and the same for all classes."""
    trunk = clip.visual.trunk.trunk
    for module in (
        trunk.stem,
        *(block for block, stride in zip(trunk.blocks, trunk.strides, strict=True) if stride == 4),
    ):
        module.requires_grad_(False).eval()


def save_clip(clip: open_clip.CLIP, config: dict, tokenizer: WordTokenizer, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / DESCRIPTION_FILE).write_text(json.dumps({"config": config, "words": tokenizer.words}) + "\n")
    halves = {key: value.half() if value.is_floating_point() else value for key, value in clip.state_dict().items()}
    save_file({key: value.contiguous() for key, value in halves.items()}, folder / WEIGHTS_FILE)


def read_clip(folder: Path) -> tuple[dict, list[str], dict[str, Tensor]]:
    """Config, vocabulary and weights, as `build_tiny_clip` wants them."""
    description = json.loads((folder / DESCRIPTION_FILE).read_text())
    return description["config"], description["words"], load_file(folder / WEIGHTS_FILE)
