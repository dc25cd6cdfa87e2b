"""Laws of the recipe of tlg-photo, on tiny photographs made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.network.knowing import Knowing
from tlg.errors import SpecError
from tlg.evidence.exemplar import Prior
from tlg.evidence.names.taught import TaughtKinds
from tlg.hub.folder import load_model, save_model
from tlg.network.backbones.registry import build_backbone
from tlg.network.spec import NetworkSpec
from tlg.recipes.photo import photographs
from tlg.recipes.photo.bank import Bank, Witnesses, drawn_bank, photo_bank, plain_bank
from tlg.recipes.photo.config import (
    BankStage,
    DataStage,
    DrawnCounts,
    KindsStage,
    PhotoCounts,
    Recipe,
    TrainingStage,
    read_recipe,
)
from tlg.recipes.photo.episodes import Asked, EpisodeDrawer, Episodes, Voice, areas
from tlg.recipes.photo.kinds import as_bank_names, kinds_of_fold, taught_kinds
from tlg.recipes.photo.masks import as_from_a_name, boxed, careless, given, masses
from tlg.recipes.photo.photographs import FIRST_GROUP, NO_FOLD, base_photographs, class_names, label_map
from tlg.recipes.photo.pictures import largest_part
from tlg.recipes.photo.training import learn_head

SIDE = 64
RECIPE = Path(__file__).parents[2] / "configs/models/tlg-photo.yaml"
NOVEL = 3
BANK = BankStage(
    seed=0,
    side=SIDE,
    photo=PhotoCounts(paste=2, small_paste=1, mosaic=2, zoom=3),
    drawn=DrawnCounts(crowds=4, kinds=4, factories=2, pictures_of_each=3),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataStage:
    """Class 1 everywhere, classes 2 and NOVEL in the middle of some; two groups of pairs."""
    root, rng = tmp_path_factory.mktemp("photographs"), np.random.default_rng(0)
    (root / "indexed/images").mkdir(parents=True)
    (root / "indexed/labels").mkdir()
    for number in range(9):
        label = np.ones((120, 140), np.uint8)
        label[30:80, 40:100] = (2, NOVEL, 1)[number % 3]
        label[:4] = 0
        pixels = (rng.integers(0, 60, (120, 140, 3)) + label[..., None] * 50).astype(np.uint8)
        Image.fromarray(pixels).save(root / f"indexed/images/p{number}.png")
        Image.fromarray(label).save(root / f"indexed/labels/p{number}.png")
    for group in ("apples", "pears"):
        (root / "pairs" / group).mkdir(parents=True)
        for number in range(3):
            mask = np.zeros((120, 140), np.uint8)
            mask[20 + 10 * number : 90, 50:110] = 255
            Image.fromarray(rng.integers(0, 255, (120, 140, 3)).astype(np.uint8)).save(
                root / f"pairs/{group}/{number}.jpg"
            )
            Image.fromarray(mask).save(root / f"pairs/{group}/{number}.png")
    names = {"0": "void", "1": "grass", "2": "dog", str(NOVEL): "car"}
    (root / "indexed/classes.json").write_text(json.dumps(names))
    # p0 shows no class of the fold and is asked all the same; p7 shows the fold's class and is never asked.
    episode = {"class": NOVEL, "query": "p1", "support": ["p4", "p0"]}
    folds = {"0": {"novel_classes": [NOVEL], "1_shot": [episode], "5_shot": [episode]}}
    (root / "indexed/episodes.json").write_text(json.dumps({"folds": folds}))
    return DataStage(indexed=root / "indexed", pairs=root / "pairs", whole_things=(2, NOVEL), surfaces=(1,))


@pytest.fixture(scope="module")
def drawer(data: DataStage, tmp_path_factory: pytest.TempPathFactory) -> EpisodeDrawer:
    return drawer_in(tmp_path_factory.mktemp("banks"), data)


@lru_cache(maxsize=1)
def witnesses() -> Witnesses:
    """One and the same in every test: a backbone has random weights."""
    torch.manual_seed(0)
    return Witnesses(build_backbone("tiny"), {}, Prior())


def drawer_in(folder: Path, data: DataStage, fold: str = NO_FOLD) -> EpisodeDrawer:
    plain, photo, drawn = (
        make(folder / name, BANK, data, fold, witnesses())
        for name, make in (("plain", plain_bank), ("photo", photo_bank), ("drawn", drawn_bank))
    )
    groups = [
        (plain, ["plain"] * len(plain)),
        (photo, ["photo"] * len(photo)),
        (drawn, ["crowd"] * 4 + ["flaw"] * (len(drawn) - 4)),
    ]
    return EpisodeDrawer(groups, {"plain": 0.35, "photo": 0.3, "crowd": 0.12, "flaw": 0.23})


def stage(steps: int) -> TrainingStage:
    return TrainingStage(
        seed=0, steps=steps, batch_size=2, shots=(1, 2), mix={"plain": 1.0}, learning_rate=1e-2, warmup=1,
        weight_decay=0.02, betas=(0.9, 0.98), clip=1.0, average=0.9,
        network=NetworkSpec(backbone="tiny", behaviour="reading", width=16, support_grid=4),
    )  # fmt: skip


def test_the_documented_recipe_is_read() -> None:
    assert isinstance(read_recipe(RECIPE), Recipe)


def test_a_recipe_with_an_unknown_entry_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(RECIPE.read_text() + "\nlooks: 3\n")
    with pytest.raises(SpecError, match="looks"):
        read_recipe(file)


def test_a_fold_opens_no_label_map_of_its_episodes_and_shows_none_of_its_classes(
    data: DataStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: set[str] = set()
    label_map.cache_clear()
    original = photographs.label_map

    def watched(photograph: photographs.Photograph) -> np.ndarray:
        opened.add(photograph.id)
        return original(photograph)

    monkeypatch.setattr(photographs, "label_map", watched)
    left = {one.id for one in base_photographs(data, "0") if one.group is None}
    assert left == {"p2", "p3", "p5", "p6", "p8"}
    assert opened.isdisjoint({"p0", "p1", "p4"})
    assert "p7" in opened


def test_a_fold_s_classes_are_in_none_of_its_banks(data: DataStage, tmp_path: Path) -> None:
    everything, of_fold = drawer_in(tmp_path / "none", data), drawer_in(tmp_path / "0", data, "0")
    assert NOVEL in everything.showing
    assert all(NOVEL not in one.holds for one in of_fold.pictures)


def test_an_unknown_fold_is_refused(data: DataStage) -> None:
    with pytest.raises(SpecError, match="fold '7'"):
        base_photographs(data, "7")


def test_pictures_are_the_same_for_a_seed_and_a_stopped_bank_goes_on(data: DataStage, tmp_path: Path) -> None:
    whole = photo_bank(tmp_path / "whole", BANK, data, NO_FOLD, witnesses())
    stopped = photo_bank(tmp_path / "stopped", BANK, data, NO_FOLD, witnesses())
    for array in arrays(stopped):
        array[4:] = 0
    (tmp_path / "stopped/done").write_text("4")
    again = photo_bank(tmp_path / "stopped", BANK, data, NO_FOLD, witnesses())
    assert np.abs(np.asarray(whole.maps[0][4:])).max() > 0
    for first, second in zip(arrays(whole), arrays(again), strict=True):
        np.testing.assert_array_equal(first, second)


def arrays(bank: Bank) -> list[np.ndarray]:
    return [*bank.maps, bank.labels, bank.own, bank.names.place, bank.names.picture]


def test_what_a_known_name_says_is_banked_and_asked(data: DataStage, tmp_path: Path) -> None:
    named = plain_bank(tmp_path, BANK, data, NO_FOLD, Witnesses(Knowing(), class_names(data), Prior()))
    # "grass" stands for no class of the classifier; apples and pears do, by the folders' names.
    assert set(named.names.classes) == {2, NOVEL, FIRST_GROUP, FIRST_GROUP + 1}
    drawer = EpisodeDrawer([(named, ["plain"] * len(named))], {"plain": 1.0})
    episodes = [drawer.draw(np.random.default_rng(seed), 4, 1) for seed in range(8)]
    for questions in episodes:
        for row, question in enumerate(questions.asked):
            says = question.voice is not Voice.NOBODY and question.class_id in named.names.classes
            assert bool(questions.named.place[row].abs().sum() > 0) == says


TAUGHT = {"dog": (2,), "car": (NOVEL,)}
KINDS = KindsStage(seed=0, steps=120, batch_size=4, width=16, learning_rate=1e-2, weight_decay=0.0)


@pytest.fixture(scope="module")
def taught(data: DataStage, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bank, TaughtKinds, torch.Tensor]:
    """A bank of the plain photographs, what was taught with it, and what is said of its pictures."""
    folder = tmp_path_factory.mktemp("taught")
    bank = plain_bank(folder / "plain", BANK, data, NO_FOLD, witnesses())
    net, told = taught_kinds(KINDS, witnesses().backbone, [bank], TAUGHT, folder)
    return replace(bank, taught=as_bank_names(folder, net, told[0], data)), net, told[0]


def test_a_fold_is_taught_no_kind_of_its_own_classes(data: DataStage) -> None:
    with_kinds = data.model_copy(update={"kinds": TAUGHT})
    assert set(kinds_of_fold(with_kinds, NO_FOLD)) == {"dog", "car"}
    assert set(kinds_of_fold(with_kinds, "0")) == {"dog"}


def test_taught_kinds_are_told_where_they_are_in_pictures_not_learned_from(
    taught: tuple[Bank, TaughtKinds, torch.Tensor],
) -> None:
    bank, net, told = taught
    assert net.kinds == ("dog", "car")
    for column, class_id in enumerate((2, NOVEL)):
        own = np.array([(label == class_id).any() for label in bank.labels])
        there, elsewhere = net.pictures(told)[torch.from_numpy(own), column], net.pictures(told)[~own, column]
        assert (there[:, None] > elsewhere[None]).float().mean() > 0.85


def test_half_of_the_named_questions_may_hear_what_was_taught(
    taught: tuple[Bank, TaughtKinds, torch.Tensor],
) -> None:
    bank, _, _ = taught
    drawer = EpisodeDrawer([(bank, ["plain"] * len(bank))], {"plain": 1.0})
    episodes = [drawer.draw(np.random.default_rng(seed), 4, 1) for seed in range(12)]
    asked = [question for drawn in episodes for question in drawn.asked]
    heard = torch.cat([drawn.named.taught[:, 0] for drawn in episodes])
    may_hear = torch.tensor([one.voice is Voice.TAUGHT and one.class_id in (2, NOVEL) for one in asked])
    assert torch.equal(heard > 0, may_hear)
    assert 0 < int(may_hear.sum()) < len(asked)


def test_a_model_keeps_what_it_was_taught(taught: tuple[Bank, TaughtKinds, torch.Tensor], tmp_path: Path) -> None:
    _, net, _ = taught
    save_model(tmp_path, "taught", witnesses().backbone, kinds=net)
    loaded = load_model(tmp_path).kinds
    assert loaded is not None
    assert loaded.kinds == net.kinds
    maps = [torch.randn(1, witnesses().backbone.channels[index], 8, 8) for index in net.read]
    assert torch.equal(loaded(maps), net(maps))


def test_episodes_are_the_same_for_a_seed(drawer: EpisodeDrawer) -> None:
    first, again, other = (drawer.draw(np.random.default_rng(seed), 4, 2) for seed in (1, 1, 2))
    for one, two in zip((*first.query, *first.shown, first.inside, first.target),
                        (*again.query, *again.shown, again.inside, again.target), strict=True):  # fmt: skip
        assert torch.equal(one, two)
    assert not torch.equal(first.query[0], other.query[0])


def test_an_exemplar_shows_the_class_and_is_not_the_query(drawer: EpisodeDrawer) -> None:
    for seed in range(20):
        episodes = drawer.draw(np.random.default_rng(seed), 4, 2)
        for asked, exemplars in zip(episodes.asked, episodes.exemplars, strict=True):
            assert all(asked.class_id in one.shows and one is not asked.picture for one in exemplars)


def test_a_query_of_several_classes_is_asked_for_two_of_them(drawer: EpisodeDrawer) -> None:
    seen = 0
    for seed in range(60):
        asked = drawer.questions(np.random.default_rng(seed))
        if len(asked[0].picture.shows) > 1:
            first, second = asked
            assert {first.class_id, second.class_id} <= set(first.picture.shows)
            assert first.class_id != second.class_id
            assert not ((first.target() == 1) & (second.target() == 1)).any()
            assert (first.target() == 1).any()
            assert (second.target() == 1).any()
            seen += 1
    assert seen


def test_an_absent_class_has_an_empty_target_and_what_is_unknown_stays_unknown(drawer: EpisodeDrawer) -> None:
    plain = next(one for one in drawer.pictures if one.group == "plain" and 1 in one.holds)
    target = Asked(plain, 999, mirrored=False).target()
    unknown = plain.label(mirrored=False) < 0
    assert unknown.any()
    assert torch.equal(target, -unknown.float())


def test_a_class_that_is_absent_is_asked_now_and_then(drawer: EpisodeDrawer) -> None:
    asked = [one for seed in range(200) for one in drawer.questions(np.random.default_rng(seed))]
    absent = [one for one in asked if one.class_id not in one.picture.holds]
    assert 0 < len(absent) < len(asked) / 4


def label_with_three_classes() -> torch.Tensor:
    label = torch.zeros(192, 192, dtype=torch.long)
    label[40:90, 30:120], label[120:170, 20:60], label[:10] = 1, 2, -1
    return label


@pytest.mark.parametrize("make", [boxed, lambda one: careless(np.random.default_rng(0), one)])
def test_a_changed_outline_still_meets_the_object(make: Callable[[torch.Tensor], torch.Tensor]) -> None:
    mask = label_with_three_classes() == 2
    assert make(mask).dtype == torch.bool
    assert (make(mask) & mask).any()


def test_masks_of_every_form_are_shares() -> None:
    label, forms = label_with_three_classes(), []
    for seed in range(60):
        inside, outside = given(np.random.default_rng(seed), label, 1, 48, torch.full((48, 48), 0.5))
        assert inside.shape == outside.shape == (48, 48)
        for one in (inside, outside):
            assert one.min() >= 0
            assert one.max() <= 1
        assert inside.max() > 0
        forms.append(inside)
    assert len({tuple(one.flatten().tolist()) for one in forms}) > 10


def test_a_box_covers_its_object_and_unknown_counts_for_neither_side() -> None:
    label = label_with_three_classes()
    inside, outside = masses(label == 1, label >= 0, 48)
    assert inside.sum() == 50 * 90 / 16
    assert (inside + outside)[:2].max() == 0
    assert torch.equal(boxed(label == 1), label == 1)


def test_a_map_from_a_name_leaks_onto_others_and_stays_a_share() -> None:
    inside, others = torch.zeros(48, 48), torch.zeros(48, 48)
    inside[:20, :20], others[30:, 30:] = 1, 1
    leaks = [as_from_a_name(np.random.default_rng(seed), inside, others)[0] for seed in range(20)]
    assert any(one[36:, 36:].mean() > 0.2 for one in leaks)
    assert all(one.min() >= 0 and one.max() <= 1 for one in leaks)


def test_of_two_parts_the_larger_is_cut_out() -> None:
    mask = np.zeros((30, 40), bool)
    mask[2:8, 2:8] = True
    mask[12:28, 4] = mask[12, 4:36] = mask[12:28, 35] = True  # bent, so that names travel around corners
    mask[27, 20:36] = True
    part = largest_part(mask)
    assert not part[:10].any()
    assert np.array_equal(part[10:], mask[10:])


def test_areas_count_classes_alone() -> None:
    assert areas(np.array([[0, 0], [-1, 5]])) == {5: 0.25}


def test_one_step_moves_the_head(drawer: EpisodeDrawer, tmp_path: Path) -> None:
    backbone = build_backbone("tiny")
    still = learn_head(stage(0), drawer, backbone, SIDE, tmp_path / "still").head.state_dict()
    moved = learn_head(stage(1), drawer, backbone, SIDE, tmp_path / "moved").head.state_dict()
    assert [name for name, one in moved.items() if torch.equal(one, still[name])] == []


def test_a_resumed_training_equals_an_uninterrupted_training(
    drawer: EpisodeDrawer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tlg.recipes.photo.training.SAVED_EVERY", 2)
    backbone = build_backbone("tiny")
    whole = learn_head(stage(4), drawer, backbone, SIDE, tmp_path / "whole").head.state_dict()

    class Stopped(Exception):
        pass

    asked = 0
    draw = EpisodeDrawer.draw

    def stop_after_three(self: EpisodeDrawer, rng: np.random.Generator, count: int, shots: int) -> Episodes:
        nonlocal asked
        asked += 1
        if asked == 4:
            raise Stopped
        return draw(self, rng, count, shots)

    monkeypatch.setattr(EpisodeDrawer, "draw", stop_after_three)
    with pytest.raises(Stopped):
        learn_head(stage(4), drawer, backbone, SIDE, tmp_path / "halves")
    resumed = learn_head(stage(4), drawer, backbone, SIDE, tmp_path / "halves").head.state_dict()
    for name, one in whole.items():
        torch.testing.assert_close(one, resumed[name], rtol=0, atol=0)
