"""What the fast path costs in accuracy: the same weights and episodes, answered fast and answered plainly.

    python tests/benchmarks/accuracy_kept.py [--episodes N] [--models FOLDER_WITH_{fold}]

Fast is what jobs and evaluations do: classes described once and asked in batches (`encode_support`, `segment`), the
frozen backbone in bfloat16 with channels last, its maps kept in half precision, exemplars condensed to a few tokens.
Plain is `TLG.forward` from pixels, one pair at a time, float32 throughout, condensed like the fast path. Whole is plain
with every place of the exemplars' working grid as a token.

Episodes: scenes of the world's novel classes with the bundled model; photographs with the models of
`make accuracy ONLY=rows`, where these and ../shared are there. All of them without --episodes; `make bench` takes a
few. The spread of what was lost is its standard error: another draw of as many episodes would move the figure by about
as much.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from harness import Row, show
from rich.progress import track
from torch import Tensor

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tlg.answers.metrics import IoUTally
from tlg.datasets.episodes import open_image
from tlg.datasets.sources import IndexMapSource
from tlg.evaluation.answerers import at_own_size
from tlg.evaluation.evaluate import void
from tlg.evidence import Prior
from tlg.evidence.episode_priors import episode_priors
from tlg.hub.zoo import load
from tlg.network.features import Features
from tlg.network.text import TextVectors
from tlg.network.tlg import TLG
from tlg.pictures import to_network_input
from tlg.recipes.tiny.evaluate import SCENE_SIZE, network_images, trials
from tlg.recipes.tiny.parts import Words
from tlg.world import index_of

ROOT = Path(__file__).resolve().parents[2]
PHOTOGRAPHS = ROOT.parent / "shared" / "data" / "msrc_v2"
MODELS = ROOT / "runs" / "accuracy" / "tlg-image-level" / "seed0" / "fold{fold}" / "last"
WORLD_SCENES, WORLD_SEED, WORLD_SIDE = 400, 1000, 192
BENCH_SCENES, BENCH_EPISODES = 100, 30
MOST_LOST = 0.3
REDRAWS = 200
SHOTS = (1, 5)


@dataclass(frozen=True)
class Case:
    """One episode, ready to be asked: pixels (1, 3, H, W), and how to score an answer (H, W) at the input size."""

    query: Tensor
    supports: Tensor  # (K, 3, H, W)
    text: TextVectors | None
    score: Callable[[Tensor, IoUTally], None]


# The query's prior (H, W) and the exemplars' own (K, H, W), from pixels or from features.
Priors = Callable[[Case, Features, Features], tuple[Tensor, Tensor]]


def fast(net: TLG, case: Case, priors: Priors) -> Tensor:
    query, exemplars = (half_features(net, one) for one in (case.query, case.supports))
    query_prior, support_prior = priors(case, query, exemplars)
    described = net.encode_support(exemplars, support_prior, case.text)
    return net.segment(query, query_prior[None, None], [described], case.text)[0, 0]


def half_features(net: TLG, images_B3HW: Tensor) -> Features:
    with torch.autocast(images_B3HW.device.type, torch.bfloat16):
        features = net.encode(images_B3HW.contiguous(memory_format=torch.channels_last))
    return features.to(torch.float16).to(torch.float32)


def plain(net: TLG, case: Case, priors: Priors) -> Tensor:
    query_prior, support_prior = priors(case, net.encode(case.query), net.encode(case.supports))
    return net(case.query, case.supports[None], query_prior[None], support_prior[None], case.text)[0][0]


def whole(net: TLG, case: Case, priors: Priors) -> Tensor:
    """As `plain`, with as many tokens as the exemplars' working grid has places. For shots that share no cells."""
    kept = net.head.spec
    side = net.encode(case.query).maps[net.head.working_map].shape[-1]
    try:
        net.head.spec = net.head.spec.model_copy(update={"support_grid": side})
        return plain(net, case, priors)
    finally:
        net.head.spec = kept


PATHS = {"fast": fast, "plain": plain, "whole": whole}


def world_cases(words: Words, count: int, shots: int) -> Iterator[Case]:
    for trial in trials(count, shots, WORLD_SEED):
        images = network_images([trial.query, *trial.supports], WORLD_SIDE)
        truth = trial.query.labels == index_of(trial.name) + 1

        def score(margin_HW: Tensor, tally: IoUTally, name: str = trial.name, truth=truth) -> None:
            answer = at_own_size(margin_HW, (SCENE_SIZE, SCENE_SIZE)).numpy() > 0
            tally.add(index_of(name), answer, truth, truth & False)

        yield Case(images[:1], images[1:], words.of([trial.name]), score)


def world_priors(words: Words) -> Priors:
    """CLIP's own maps, as the bundled model was trained with."""

    def of(case: Case, query: Features, exemplars: Features) -> tuple[Tensor, Tensor]:
        images = torch.cat([case.query, case.supports])
        maps = words.own_prior(images, case.text.foreground.expand(len(images), -1))
        return maps[0], maps[1:]

    return of


def photograph_cases(fold: str, side: int, count: int | None, shots: int) -> Iterator[Case]:
    source = IndexMapSource(kind="index_maps", root=PHOTOGRAPHS, episodes=PHOTOGRAPHS / "episodes.json")
    episodes = source.evaluation(fold, shots, None, 0)
    collection = episodes.collection
    # Spread over the file, so that few episodes still ask for every class.
    step = 1 if count is None else max(1, len(episodes.episodes) // count)
    for episode in episodes.episodes[::step]:
        images = torch.stack(
            [to_network_input(open_image(one.image), side) for one in (episode.query, *episode.supports)]
        )

        def score(margin_HW: Tensor, tally: IoUTally, episode=episode) -> None:
            label_HW = collection.label_map(episode.query)
            answer = at_own_size(margin_HW, label_HW.shape).numpy() > 0
            tally.add(episode.class_id, answer, label_HW == episode.class_id, void(collection, label_HW))

        yield Case(images[:1], images[1:], None, score)


def photograph_priors(prior: Prior) -> Priors:
    def of(case: Case, query: Features, exemplars: Features) -> tuple[Tensor, Tensor]:
        query_B, support_BK = episode_priors(prior, query, exemplars, len(exemplars))
        return query_B[0], support_BK[0]

    return of


# The episodes of one set (the world, a fold of the photographs): for each path a tally an episode, in the same order.
SetScores = dict[str, list[IoUTally]]


@torch.inference_mode()
def scores(net: TLG, cases: Iterator[Case], priors: Priors, what: str) -> SetScores:
    tallies: SetScores = {path: [] for path in PATHS}
    for case in track(cases, description=what, transient=True):
        for path, answer in PATHS.items():
            logits_2HW = answer(net, case, priors)
            tallies[path].append(IoUTally())
            case.score(logits_2HW[1] - logits_2HW[0], tallies[path][-1])
    return tallies


def mean_iou(tallies: list[IoUTally]) -> float:
    together = IoUTally()
    for tally in tallies:
        together.merge(tally)
    return 100 * together.mean_iou()


def lost(sets: list[SetScores], slow: str) -> float:
    """mIoU that the fast path lies below `slow`, averaged over the sets."""
    return float(np.mean([mean_iou(one[slow]) - mean_iou(one["fast"]) for one in sets]))


def standard_error(sets: list[SetScores], slow: str) -> float:
    """Of `lost`: its deviation when each set's episodes are drawn again from themselves, with replacement."""
    generator = np.random.default_rng(0)
    redrawn = []
    for _ in range(REDRAWS):
        draws = [generator.integers(len(one["fast"]), size=len(one["fast"])) for one in sets]
        again = [
            {path: [one[path][episode] for episode in draw] for path in ("fast", slow)}
            for one, draw in zip(sets, draws, strict=True)
        ]
        redrawn.append(lost(again, slow))
    return float(np.std(redrawn))


def world_rows(count: int) -> list[Row]:
    model = load("tlg-tiny", "cpu")
    words = Words(model.clip)
    rows = []
    for shots in SHOTS:
        what = f"world, {shots}-shot"
        asked = scores(model.network, world_cases(words, count, shots), world_priors(words), what)
        rows += compared(what, [asked], f"{count} scenes")
    return rows


def photograph_rows(models: str, count: int | None) -> list[Row]:
    folds = [fold for fold in ("0", "1", "2") if Path(models.replace("{fold}", fold)).exists()]
    if len(folds) < 3 or not PHOTOGRAPHS.exists():
        return compared("photographs", [], "needs ../shared and the models of `make accuracy ONLY=rows`")
    rows = []
    for shots in SHOTS:
        sets = []
        for fold in folds:
            model = load(models.replace("{fold}", fold), "cpu")
            cases = photograph_cases(fold, model.input_size[0], count, shots)
            what = f"photographs, fold {fold}, {shots}-shot"
            sets.append(scores(model.network, cases, photograph_priors(Prior(model.background)), what))
        asked = sum(len(one["fast"]) for one in sets)
        rows += compared(f"photographs, {shots}-shot", sets, f"{asked} episodes of three folds")
    return rows


def compared(what: str, sets: list[SetScores], inputs: str) -> list[Row]:
    """Without any set: rows that say "not measured"."""
    rows = [
        Row(
            f"{what}, {path}",
            float(np.mean([mean_iou(one[path]) for one in sets])) if sets else None,
            "mIoU",
            inputs=inputs,
        )
        for path in PATHS
    ]
    for slow in ("plain", "whole"):
        value, spread = (lost(sets, slow), standard_error(sets, slow)) if sets else (None, 0.0)
        rows.append(
            Row(f"{what}, lost by fast against {slow}", value, "mIoU", f"<= {MOST_LOST}", spread, inputs=inputs)
        )
    return rows


def measure() -> list[Row]:
    return world_rows(BENCH_SCENES) + photograph_rows(str(MODELS), BENCH_EPISODES)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--episodes", type=int, help="of each set, fold and number of shots; all when left out")
    parser.add_argument("--models", default=str(MODELS))
    arguments = parser.parse_args()
    rows = world_rows(arguments.episodes or WORLD_SCENES) + photograph_rows(arguments.models, arguments.episodes)
    show([dataclasses.asdict(row) for row in rows])


if __name__ == "__main__":
    main()
