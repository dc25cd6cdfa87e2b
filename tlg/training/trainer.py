"""`tlg train`: episodes, frozen features, one loop that can be killed and goes on as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import math
import random
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tlg import documents, store
from tlg.answers.metrics import IoUTally
from tlg.datasets.episodes import Collection, Photo
from tlg.errors import CheckpointError, SpecError
from tlg.evidence.background import Background
from tlg.evidence.episode_priors import episode_priors
from tlg.evidence.exemplar import Prior
from tlg.evidence.text_encoder import ClassText, build_text_encoder
from tlg.hub.backbones import load_backbone
from tlg.hub.folder import save_model
from tlg.network.episode_answer import EpisodeAnswer
from tlg.network.repaired.head import NOTHING_KNOWN, RepairedHead
from tlg.network.text import TextVectors
from tlg.network.tlg import TLG
from tlg.training.batches.feature_bank import CachedFeatures, FeatureSource, LiveFeatures
from tlg.training.batches.pool import PLAIN, Pool, Views
from tlg.training.batches.pseudo_mask_views import PseudoMaskViews
from tlg.training.batches.sampling import LOSS_IGNORES, Batch, EpisodeSampler
from tlg.training.losses import episode_loss, objectness_loss, parameter_norms
from tlg.training.processes import Processes
from tlg.training.reporter import Reporter
from tlg.training.spec import TrainSpec

STATE_FILE = "state.pt"
ALL_FOLDS = "all"
VALIDATION_BATCH = 8
BACKGROUND_PHOTOS, BACKGROUND_BATCH = 120, 8
# Which views exist does not depend on the run's seed: runs with other seeds share a cache and draw other episodes.
VIEWS_SEED = 0
OBJECTNESS_WEIGHT, PRIOR_SKIPPED = 0.5, 0.5


def load_spec(config: str | Path, overrides: Sequence[str] = ()) -> TrainSpec:
    """A config file with `key=value` overrides; relative paths count from the working directory."""
    content = documents.read_text(store.read_text(str(config)), str(config))
    return documents.parse(TrainSpec, documents.apply_overrides(content, list(overrides)), str(config))


def train(config: str | Path, overrides: Sequence[str] = ()) -> list[Path]:
    """Train as the config says, going on from `out/state.pt` where that is; returns the best model's folder per fold.

    `data.fold: all` trains every fold of the benchmark, one after the other. Under torchrun every process takes its
    share of each batch.
    """
    spec = load_spec(config, overrides)
    folds = spec.data.benchmark.folds() if spec.data.fold == ALL_FOLDS else [spec.data.fold]
    processes = Processes.join(spec.device)
    try:
        return [Trainer(for_fold(spec, fold), processes).run() for fold in folds]
    finally:
        processes.leave()


def for_fold(spec: TrainSpec, fold: str) -> TrainSpec:
    """The spec of one fold; `{fold}` in `out` becomes its name."""
    if spec.data.fold == ALL_FOLDS and "{fold}" not in str(spec.out):
        raise SpecError(f"out is {spec.out}; training all folds needs {{fold}} in it, so that each has its own folder")
    out = Path(str(spec.out).replace("{fold}", fold))
    return spec.model_copy(update={"out": out, "data": spec.data.model_copy(update={"fold": fold})})


def chosen(value: float | None, usual: float) -> float:
    return usual if value is None else value


class EpisodeLoss(nn.Module):
    """The loss of a batch: what runs, and is averaged, on every process."""

    def __init__(self, net: TLG, prior: Prior, spec: TrainSpec) -> None:
        super().__init__()
        self.net, self.prior, self.weights, self.supervision = net, prior, spec.loss, spec.supervision
        repaired = isinstance(net.head, RepairedHead)
        says_where_objects_are = repaired and net.head.reads_deep
        self.objectness_weight = chosen(spec.loss.objectness, OBJECTNESS_WEIGHT if says_where_objects_are else 0.0)
        self.prior_skipped = chosen(spec.prior_skipped, PRIOR_SKIPPED if repaired else 0.0)

    def forward(self, batch: Batch, text: TextVectors | None) -> tuple[Tensor, Tensor]:
        """Loss and the query's logits (B, 2, H, W)."""
        query_prior, support_prior = None, None
        if self.supervision == "pixel":
            support_prior = (batch.support_truth == 1).float()
        elif self.net.spec.prior and batch.priors is not None:
            query_prior, support_prior = batch.priors
        elif self.net.spec.prior:
            query_prior, support_prior = episode_priors(self.prior, batch.query, batch.support, batch.shots)
        if self.training and self.prior_skipped and query_prior is not None and support_prior is not None:
            skipped_B = torch.rand(len(query_prior), device=query_prior.device) < self.prior_skipped
            query_prior = query_prior.masked_fill(skipped_B[:, None, None], NOTHING_KNOWN)
            support_prior = support_prior.masked_fill(skipped_B[:, None, None, None], NOTHING_KNOWN)
        answer = self.net.episode(batch.query, batch.support, query_prior, support_prior, text)
        loss = episode_loss(answer.query, answer.support, batch.query_truth, batch.support_truth, self.weights)
        if self.objectness_weight:
            loss = loss + self.objectness_weight * objects_loss(answer, batch)
        if self.weights.norms:
            loss = loss + self.weights.norms * parameter_norms(self.net.parameters())
        return loss, answer.query


def objects_loss(answer: EpisodeAnswer, batch: Batch) -> Tensor:
    """Both branches' word on where any object is."""
    if answer.query_objectness is None or answer.support_objectness is None:
        raise SpecError("loss.objectness needs a network that says where objects are; set network.deep or drop it")
    of_support = objectness_loss(
        answer.support_objectness, batch.support_truth.flatten(0, 1), batch.things.repeat_interleave(batch.shots)
    )
    return objectness_loss(answer.query_objectness, batch.query_truth, batch.things) + of_support


class Trainer:
    """One run: everything that a step needs, and what is written between steps."""

    def __init__(self, spec: TrainSpec, processes: Processes) -> None:
        self.spec, self.processes, self.device = spec, processes, processes.device
        if spec.optim.batch_size % processes.count:
            raise SpecError(
                f"optim.batch_size {spec.optim.batch_size} cannot be shared by {processes.count} processes;"
                " choose a multiple"
            )
        self.local_batch = spec.optim.batch_size // processes.count
        torch.manual_seed(spec.seed)
        backbone = load_backbone(spec.network.backbone, spec.backbone_weights, spec.network.backbone_taps)
        backbone = backbone.to(self.device)
        backbone = backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net = TLG(spec.network, backbone).to(self.device)
        self.learning, self.held = self._pools()
        self.features = self._features(self.learning, backbone, spec.cache.variants if spec.cache else 0)
        self.held_features = self._features(self.held, backbone, 1)
        self.prior = Prior(fit_background(self.features, len(self.learning)))
        self.text_encoder = None
        if spec.network.text:
            if spec.text is None:
                raise SpecError("network.text is on, so `text` has to say where vectors come from; or set it to false")
            self.text_encoder = build_text_encoder(spec.text, str(self.device))
        self.sampler = self._sampler(self.learning)
        self.trainable: list[Tensor] = [parameter for parameter in self.net.parameters() if parameter.requires_grad]
        self.optimizer = torch.optim.AdamW(self.trainable, lr=spec.optim.lr, weight_decay=spec.optim.weight_decay)
        self.average = [parameter.detach().clone() for parameter in self.trainable]
        self.steps_per_epoch = spec.optim.steps_per_epoch or max(1, len(self.learning) // spec.optim.batch_size)
        self.total_steps = spec.optim.epochs * self.steps_per_epoch
        self.step, self.best = 0, -1.0

    # ---- data

    def _sources(self) -> list[tuple[Collection, list[Photo]]]:
        data = self.spec.data
        return [source.base(data.fold) for source in (data.benchmark, *data.more)]

    def _pools(self) -> tuple[Pool, Pool]:
        """What is learnt from, and the base photographs kept to choose the best checkpoint."""
        learning, held = [], []
        for collection, photos in self._sources():
            to_learn, to_hold = parted(photos, self.spec.data.held_out)
            learning.append((collection, to_learn))
            held.append((collection, to_hold))
        return Pool(learning), Pool(held)

    def _features(self, pool: Pool, backbone: nn.Module, variants: int) -> FeatureSource:
        data, cache = self.spec.data, self.spec.cache
        views = Views(pool, self.spec.input_size, VIEWS_SEED)
        live = LiveFeatures(views, backbone, self.device, self.spec.half, augment=data.augment and variants != 1)  # type: ignore[arg-type]
        if cache is None:
            return live
        return CachedFeatures(live, variants, cache.folder)

    def _sampler(self, pool: Pool) -> EpisodeSampler:
        data = self.spec.data
        further = len(data.more)
        share = {0: 1 - data.more_share if further else 1.0}
        share |= {1 + index: data.more_share / further for index in range(further)}
        masks = self.spec.pseudo_masks
        pseudo = None if masks is None else PseudoMaskViews(pool, self.spec.input_size, VIEWS_SEED, masks, data.fold)
        return EpisodeSampler(
            pool,
            share,
            frozenset(data.surroundings),
            data.surroundings_share,
            data.min_area,
            data.collage_share,
            pseudo,
        )

    # ---- the loop

    def run(self) -> Path:
        # Denormal numbers, which vanishing gradients are full of, slow a CPU down several times. The setting is the
        # whole thread's, so it is taken back.
        torch.set_flush_denormal(True)
        try:
            return self._run()
        finally:
            torch.set_flush_denormal(False)

    def _run(self) -> Path:
        spec = self.spec
        self._resume()
        objective = self.processes.wrap(EpisodeLoss(self.net, self.prior, spec))
        with Reporter(spec, self.step, self.total_steps, shown=self.processes.first) as reporter:
            while self.step < self.total_steps:
                tally, losses = IoUTally(), []
                for _ in range(self.steps_per_epoch):
                    losses.append(self._learn(objective, tally))
                    reporter.advance(self.step, losses[-1], tally.mean_iou())
                epoch = self.step // self.steps_per_epoch
                row = {"epoch": epoch, "step": self.step, "loss": sum(losses) / len(losses), "miou": tally.mean_iou()}
                if epoch % spec.validation.every == 0 or self.step == self.total_steps:
                    row["held_out_miou"] = self._validate()
                if self.processes.first:
                    self._save(row.get("held_out_miou"))
                    reporter.epoch(row)
                self.processes.wait()
        return spec.out / "best"

    def _learn(self, objective: nn.Module, tally: IoUTally) -> float:
        spec, rank = self.spec, self.processes.rank
        key = f"{spec.seed}/{self.step}/{rank}"
        batch = self.sampler.batch(key, self.local_batch, spec.shots, self.features).to(self.device)
        rng = random.Random(f"{key}/step")
        torch.manual_seed(rng.getrandbits(62))
        skipped = rng.random() < spec.text_skipped
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(spec, self.step, self.total_steps)
        amp = spec.half and self.device.type == "cuda"
        with torch.autocast("cuda", torch.bfloat16) if amp else nullcontext():
            loss, logits = objective(batch, self._text(batch, skipped))
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.step += 1
        # A running mean that starts as the plain mean, so that the first weights are soon forgotten.
        decay = min(spec.optim.average, self.step / (self.step + 10))
        with torch.no_grad():
            torch._foreach_lerp_(self.average, list[Tensor](self.trainable), 1 - decay)
        count(tally, batch, logits)
        return float(loss.detach())

    def _text(self, batch: Batch, skipped: bool) -> TextVectors | None:
        if self.text_encoder is None or skipped:
            return None
        return self.text_encoder.encode([ClassText(name) for name in batch.class_names]).to(self.device)

    @torch.no_grad()
    def _validate(self) -> float:
        """mIoU of the averaged weights on held-out photographs of base classes; novel ones are never asked."""
        spec, tally = self.spec, IoUTally()
        sampler = self._sampler(self.held)
        learnt = [parameter.detach().clone() for parameter in self.trainable]
        self._fill(self.average)
        self.net.eval()
        objective = EpisodeLoss(self.net, self.prior, spec).eval()
        batches = range(math.ceil(spec.validation.episodes / VALIDATION_BATCH))
        for index in batches[self.processes.rank :: self.processes.count]:
            batch = sampler.batch(f"held-out/{index}", VALIDATION_BATCH, spec.shots, self.held_features).to(self.device)
            count(tally, batch, objective(batch, self._text(batch, skipped=False))[1])
        self.net.train()
        self._fill(learnt)
        whole = IoUTally()
        for part in self.processes.gather(tally):
            whole.merge(part)
        return whole.mean_iou()

    def _fill(self, values: Sequence[Tensor]) -> None:
        with torch.no_grad():
            for parameter, value in zip(self.trainable, values, strict=True):
                parameter.copy_(value)

    # ---- what a killed run goes on from

    def _save(self, held_out_miou: float | None) -> None:
        """Model folders first, then the state: a run killed in between repeats an epoch, and nothing is lost."""
        learnt = [parameter.detach().clone() for parameter in self.trainable]
        self._fill(self.average)
        self._write_model("last")
        if held_out_miou is not None and held_out_miou > self.best:
            self.best = held_out_miou
            self._write_model("best")
        self._fill(learnt)
        state = {
            "spec": fingerprint(self.spec),
            "step": self.step,
            "best": self.best,
            "learnt": learnt,
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
        }
        aside = self.spec.out / f".{STATE_FILE}"
        torch.save(state, aside)
        aside.replace(self.spec.out / STATE_FILE)

    def _write_model(self, which: str) -> None:
        side = self.spec.input_size
        save_model(
            self.spec.out / which,
            f"{self.spec.name}-{which}",
            self.net.backbone,
            self.net,
            text=self.spec.text,
            input_size=(side, side),
            background=self.prior.background,
        )

    def _resume(self) -> None:
        self.spec.out.mkdir(parents=True, exist_ok=True)
        file = self.spec.out / STATE_FILE
        if not file.exists():
            return
        state: dict[str, Any] = torch.load(file, map_location=self.device, weights_only=True)
        if state["spec"] != fingerprint(self.spec):
            raise CheckpointError(
                f"{file} belongs to a run with another config; go on with that config, or choose another `out`"
            )
        self._fill(state["learnt"])
        self.average = list(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.best = state["step"], state["best"]


def fit_background(features: FeatureSource, photos: int) -> Background:
    """What base photographs are full of: some of them, evenly spread over the pool, without their labels."""
    chosen = [(position, PLAIN) for position in range(0, photos, max(1, photos // BACKGROUND_PHOTOS))]
    batches = [chosen[start : start + BACKGROUND_BATCH] for start in range(0, len(chosen), BACKGROUND_BATCH)]
    return Background.fit([features.features(batch) for batch in batches])


def learning_rate(spec: TrainSpec, step: int, total: int) -> float:
    optim = spec.optim
    rate = optim.lr * min(1.0, (step + 1) / (optim.warmup + 1))
    return rate * 0.5 * (1 + math.cos(math.pi * step / total)) if optim.schedule == "cosine" else rate


def parted(photos: Iterable[Photo], share: float) -> tuple[list[Photo], list[Photo]]:
    """What is learnt from, and what is held out."""
    parts: tuple[list[Photo], list[Photo]] = ([], [])
    for photo in photos:
        parts[is_held_out(photo, share)].append(photo)
    return parts


def is_held_out(photo: Photo, share: float) -> bool:
    """Chosen by the photograph's name alone, so the same in every run."""
    digest = hashlib.blake2b(photo.id.encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big") < share * 2**32


def fingerprint(spec: TrainSpec) -> str:
    """What has to be equal for one run to go on where another stopped."""
    content = spec.model_dump(mode="json", exclude={"out", "cache", "device", "validation"})
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def count(tally: IoUTally, batch: Batch, logits_B2HW: Tensor) -> None:
    """Adds a batch's answers to the tally, at the truth's size."""
    logits = nn.functional.interpolate(logits_B2HW.detach().float(), batch.query_truth.shape[-2:], mode="bilinear")
    answers, truths = (logits[:, 1] > logits[:, 0]).cpu().numpy(), batch.query_truth.cpu().numpy()
    for class_id, answer, truth in zip(batch.class_ids, answers, truths, strict=True):
        tally.add(class_id, answer, truth == 1, truth == LOSS_IGNORES)
