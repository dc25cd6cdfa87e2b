"""`tlg prior --dataset CONFIG --out DIR`: the pseudo-masks of a training config's base photographs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import partial

import torch
from rich.console import Console
from rich.progress import track

from tlg.datasets.episodes import Collection, Photo
from tlg.errors import SpecError
from tlg.evidence.background import Background
from tlg.evidence.exemplar import Prior
from tlg.hub.backbones import load_backbone
from tlg.network.backbones.backbone import Backbone
from tlg.network.features import Features
from tlg.training import trainer as training
from tlg.training.batches.feature_bank import LiveFeatures, weights_digest
from tlg.training.batches.pool import Pool, Views
from tlg.training.pseudo_masks import PseudoMasks, PseudoMaskSpec, precompute
from tlg.training.spec import TrainSpec

MADE_FROM_FILE = "made_from.json"


def make_pseudo_masks(config: str, overrides: Sequence[str], masks: PseudoMaskSpec) -> Iterator[str]:
    """Makes them fold by fold and tells of every folder; a killed run goes on where it was."""
    spec = training.load_spec(config, overrides)
    folds = spec.data.benchmark.folds() if spec.data.fold == training.ALL_FOLDS else [spec.data.fold]
    with torch.random.fork_rng():
        torch.manual_seed(spec.seed)  # as in training, for a backbone without weights
        backbone = load_backbone(spec.network.backbone, spec.backbone_weights, spec.network.backbone_taps)
    backbone.to(torch.device(spec.device or ("cuda" if torch.cuda.is_available() else "cpu")))
    # Standard output is the answer: progress goes beside it.
    console = Console(stderr=True)
    for fold in folds:
        sources = [source.base(fold) for source in (spec.data.benchmark, *spec.data.more)]
        masks.check_apart(folds, [collection.name for collection, _ in sources])
        if not any(photos for _, photos in sources):
            raise SpecError(f"{config}: fold {fold} has no base photographs; check the data folders")
        prior = Prior(fit_background(sources, backbone, spec))
        for collection, photos in sources:
            out = masks.of(fold, collection.name)
            claim(out, made_from(collection, photos, backbone, spec, masks))
            written = precompute(
                collection,
                photos,
                partial(encode, backbone),
                spec.input_size,
                prior,
                out,
                seed=spec.seed,
                tracked=partial(track, description=f"{collection.name}, fold {fold}", transient=True, console=console),
            )
            yield f"{out.folder}  fold {fold}, {collection.name}: {written} pseudo-masks of {len(photos)} photographs"


def fit_background(
    sources: Sequence[tuple[Collection, list[Photo]]], backbone: Backbone, spec: TrainSpec
) -> Background:
    """As training fits it, from all base photographs."""
    pool = Pool(sources)
    views = Views(pool, spec.input_size, training.VIEWS_SEED)
    device = next(backbone.parameters()).device
    return training.fit_background(LiveFeatures(views, backbone, device, spec.half, augment=False), len(pool))


@torch.no_grad()
def encode(backbone: Backbone, images_B3HW: torch.Tensor) -> Features:
    images_B3HW = images_B3HW.to(next(backbone.parameters()).device)
    return Features(backbone(images_B3HW), (images_B3HW.shape[2], images_B3HW.shape[3]))


def made_from(
    collection: Collection, photos: Sequence[Photo], backbone: Backbone, spec: TrainSpec, masks: PseudoMaskSpec
) -> dict[str, object]:
    """Everything that the pseudo-masks of a folder depend on, but the photographs' pixels."""
    listed = json.dumps([[photo.id, sorted(photo.classes)] for photo in photos])
    return {
        "collection": collection.name,
        "photographs": hashlib.blake2b(listed.encode(), digest_size=8).hexdigest(),
        "backbone": weights_digest(backbone),
        "input_size": spec.input_size,
        "half": spec.half,
        "seed": spec.seed,
        "layout": masks.layout,
    }


def claim(out: PseudoMasks, settings: dict[str, object]) -> None:
    """Refuses a folder that holds other masks: those would be taken for ours, or be lost."""
    file = out.folder / MADE_FROM_FILE
    if not file.exists():
        if next(out.folder.rglob("*.png"), None) is not None:
            raise SpecError(f"{out.folder} holds PNGs that were not made here; choose another --out")
        out.folder.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(settings, indent=1))
        return
    before = json.loads(file.read_text())
    changed = [key for key in settings if before.get(key) != settings[key]]
    if changed:
        raise SpecError(
            f"{out.folder} holds pseudo-masks made with another {', '.join(changed)}; choose another --out or delete it"
        )
