"""Laws of a training run, on a small random backbone and coloured squares."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from tlg.answers.metrics import IoUTally
from tlg.datasets.episodes import EpisodesFile, Photo
from tlg.errors import CheckpointError, SpecError
from tlg.hub.folder import load_model
from tlg.network.backbones.registry import build_backbone
from tlg.training.processes import Processes
from tlg.training.reporter import Reporter
from tlg.training.trainer import ALL_FOLDS, EpisodeLoss, Trainer, load_spec, parted, train


@pytest.fixture
def config(index_maps: Path, pairs: Path, tmp_path: Path) -> Path:
    content = {
        "name": "squares",
        "out": str(tmp_path / "run"),
        "data": {
            "benchmark": {"kind": "index_maps", "root": str(index_maps), "episodes": str(index_maps / "episodes.json")},
            "more": [{"kind": "pairs", "root": str(pairs)}],
            "augment": True,
            "collage_share": 0.3,
            "held_out": 0.4,
        },
        "network": {"backbone": "tiny", "text": False, "width": 16, "deep": True},
        "backbone_weights": None,
        "input_size": 64,
        "loss": {"dice": 0.5},
        "optim": {"epochs": 2, "steps_per_epoch": 2, "batch_size": 2, "average": 0.9},
        "validation": {"episodes": 4},
        "cache": {"folder": str(tmp_path / "features"), "variants": 3},
        "half": False,
        "device": "cpu",
    }
    file = tmp_path / "train.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


def weights(folder: Path) -> dict[str, torch.Tensor]:
    network = load_model(folder).network
    assert network is not None
    return network.head.state_dict()


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def test_photographs_are_held_out_by_their_names_and_never_compared(monkeypatch):
    """Of eighty thousand photographs comparing takes minutes."""
    photos = [Photo(f"photo {number}", Path("none"), frozenset()) for number in range(1000)]
    monkeypatch.setattr(Photo, "__eq__", lambda *_: pytest.fail("two photographs were compared"))
    learning, held = ({photo.id for photo in photos} for photos in parted(photos, 0.1))
    assert not learning & held
    assert (len(learning) + len(held), 50 < len(held) < 150) == (1000, True)


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one(config: Path, tmp_path: Path, monkeypatch):
    train(config)

    class Killed(BaseException):
        pass

    report = Reporter.epoch

    def kill_after_first(reporter, row):
        report(reporter, row)
        raise Killed

    monkeypatch.setattr(Reporter, "epoch", kill_after_first)
    with pytest.raises(Killed):
        train(config, [f"out={tmp_path / 'resumed'}"])
    monkeypatch.setattr(Reporter, "epoch", report)
    train(config, [f"out={tmp_path / 'resumed'}"])
    for which in ("last", "best"):
        assert same(weights(tmp_path / "run" / which), weights(tmp_path / "resumed" / which))
    rows = [(tmp_path / run / "metrics.jsonl").read_text() for run in ("run", "resumed")]
    assert rows[0] == rows[1]
    assert [json.loads(line)["step"] for line in rows[0].splitlines()] == [2, 4]


def test_cached_features_change_nothing_and_another_seed_does(config: Path, tmp_path: Path):
    one_step = ["optim.epochs=1", "optim.steps_per_epoch=1"]
    for name, extra in {"a": [], "b": [], "c": ["seed=1"]}.items():
        train(config, [*one_step, f"out={tmp_path / name}", *extra])
    assert same(weights(tmp_path / "a" / "last"), weights(tmp_path / "b" / "last"))
    assert not same(weights(tmp_path / "a" / "last"), weights(tmp_path / "c" / "last"))


def test_every_parameter_learns_and_the_backbone_stays(config: Path):
    trainer = Trainer(load_spec(config), Processes.join("cpu"))
    before = {key: value.clone() for key, value in trainer.net.backbone.state_dict().items()}
    objective = EpisodeLoss(trainer.net, trainer.prior, trainer.spec)
    trainer._learn(objective, IoUTally())
    silent = [name for name, one in trainer.net.head.named_parameters() if one.grad is None or not one.grad.any()]
    assert silent == []
    assert all(torch.equal(before[key], value) for key, value in trainer.net.backbone.state_dict().items())


@pytest.mark.parametrize(("share", "alike"), [("1", True), ("0", False)])
def test_an_episode_whose_pseudo_masks_are_skipped_does_not_see_them(config: Path, share: str, alike: bool):
    trainer = Trainer(load_spec(config, [f"prior_skipped={share}"]), Processes.join("cpu"))
    batch = trainer.sampler.batch("0", 2, trainer.spec.shots, trainer.features)
    objective = EpisodeLoss(trainer.net, trainer.prior, trainer.spec)
    losses = []
    for value in (0.1, 0.9):
        query, support = torch.full_like(batch.query_truth, value, dtype=torch.float32), batch.support_truth
        priors = (query, torch.full_like(support, value, dtype=torch.float32))
        torch.manual_seed(0)
        losses.append(objective(dataclasses.replace(batch, priors=priors), None)[0].item())
    assert (losses[0] == losses[1]) is alike


def test_a_run_refuses_the_state_of_another_config(config: Path):
    train(config, ["optim.epochs=1", "optim.steps_per_epoch=1"])
    with pytest.raises(CheckpointError, match="another config"):
        train(config, ["optim.epochs=1", "optim.steps_per_epoch=1", "optim.lr=0.1"])


def test_training_opens_no_label_map_of_an_episode_and_sees_no_novel_class(config: Path, index_maps: Path, monkeypatch):
    import tlg.datasets.folder as module

    opened: set[Path] = set()
    original = module.open_index_map
    monkeypatch.setattr(module, "open_index_map", lambda path: opened.add(path) or original(path))
    train(config, ["optim.epochs=1"])
    file = EpisodesFile.read(index_maps / "episodes.json")
    assert opened
    assert not {path.stem for path in opened} & file.photo_ids("0")
    trainer = Trainer(load_spec(config), __import__("tlg.training.processes").training.processes.Processes.join("cpu"))
    for pool in (trainer.learning, trainer.held):
        assert not {one.name for one in pool.classes.values()} & {"cow", "bird"}
        for _, photo in pool.entries[:4]:
            assert not photo.classes & {1, 2} or "/" in photo.id


def test_all_folds_need_a_folder_each(config: Path):
    with pytest.raises(SpecError, match=r"needs \{fold\} in it"):
        train(config, [f"data.fold={ALL_FOLDS}"])


def test_unknown_keys_are_named(config: Path):
    with pytest.raises(SpecError, match="did you mean 'optim'"):
        load_spec(config, ["optm.lr=1"])


@pytest.mark.cluster
@pytest.mark.long
def test_two_processes_share_a_batch(config: Path, tmp_path: Path):
    script = f"from tlg.training.trainer import train; train({str(config)!r}, ['optim.epochs=1'])"
    file = tmp_path / "run.py"
    file.write_text(script)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", str(file)]
    subprocess.run(command, check=True, env=environment, timeout=300, capture_output=True)
    assert load_model(tmp_path / "run" / "last").network is not None
    assert build_backbone("tiny").name == "tiny"
