"""Laws of the bundled model's recipe, on small scenes and untrained parts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from tlg.errors import SpecError
from tlg.evidence.text_encoder import ClassText
from tlg.evidence.tiny_clip import TinyClip, dense_image_vectors
from tlg.hub.folder import load_model, save_model
from tlg.network.backbones.registry import build_backbone
from tlg.recipes.tiny.backbone import base_targets, learn_backbone
from tlg.recipes.tiny.bank import SceneBank, scene_bank
from tlg.recipes.tiny.clip import build_clip, chosen_phrases, clip_loss, world_tokenizer
from tlg.recipes.tiny.config import read_recipe
from tlg.recipes.tiny.evaluate import roc_auc, trials
from tlg.recipes.tiny.segmenter import EpisodeDrawer, learn_segmenter
from tlg.world import BASE, CLASSES, NOVEL, index_of

RECIPE = Path(__file__).parents[2] / "configs/models/tlg-tiny.yaml"


@pytest.fixture(scope="module")
def tiny_clip() -> TinyClip:
    torch.manual_seed(0)
    tokenizer = world_tokenizer(32)
    clip, config = build_clip(read_recipe(RECIPE).clip, tokenizer.vocab_size)
    return TinyClip(config, clip, tokenizer)


@pytest.fixture(scope="module")
def base_bank(tmp_path_factory: pytest.TempPathFactory) -> SceneBank:
    return scene_bank(tmp_path_factory.mktemp("base"), 3 * len(BASE), 64, BASE, seed=5)


def bank_with_a_novel_class(folder: Path) -> SceneBank:
    return scene_bank(folder, 40, 64, [*BASE[:3], NOVEL[0]], seed=6)


def test_a_bank_is_drawn_once(tmp_path: Path) -> None:
    first = scene_bank(tmp_path, 4, 64, BASE, seed=1)
    again = scene_bank(tmp_path, 4, 64, BASE, seed=1)
    assert (first.images == again.images).all()
    assert first.captions == again.captions


def test_a_bank_of_base_classes_holds_no_novel_pixel(base_bank: SceneBank) -> None:
    assert not {index_of(name) + 1 for name in NOVEL} & set(np.unique(base_bank.labels))


def test_the_backbone_refuses_to_train_on_novel_classes(tmp_path: Path) -> None:
    stage = read_recipe(RECIPE).backbone.model_copy(update={"steps": 2, "sides": (64,)})
    with pytest.raises(AssertionError, match="novel class"):
        learn_backbone(stage, bank_with_a_novel_class(tmp_path / "bank"), tmp_path)


def test_every_base_class_is_a_target_and_no_novel_class_is() -> None:
    table = base_targets()
    assert sorted(table[index_of(name) + 1] for name in BASE) == list(range(1, len(BASE) + 1))
    assert all(table[index_of(name) + 1] == -1 for name in NOVEL)


def test_tlg_refuses_to_train_on_novel_classes(tmp_path: Path) -> None:
    bank = bank_with_a_novel_class(tmp_path / "bank")
    with pytest.raises(AssertionError, match="novel classes"):
        learn_segmenter(read_recipe(RECIPE).segmenter, bank, build_backbone("tiny"), words=None, work=tmp_path)


def test_episodes_are_of_base_classes_and_supports_hold_the_class(base_bank: SceneBank) -> None:
    drawn = EpisodeDrawer(base_bank, BASE, absent_share=0.5).draw(np.random.default_rng(0), 30, shots=2)
    assert set(drawn.classes) <= set(BASE)
    for name, query, supports in zip(drawn.classes, drawn.queries, drawn.supports, strict=True):
        assert query not in supports
        assert all(name in base_bank.present[number] for number in supports)


def test_trials_show_novel_classes_only_and_share_their_queries() -> None:
    one, five = list(trials(3, 1, seed=9)), list(trials(3, 5, seed=9))
    for single, many in zip(one, five, strict=True):
        assert set(single.query.present) <= set(NOVEL)
        assert (single.query.image == many.query.image).all()
        assert (single.supports[0].image == many.supports[0].image).all()
        assert all(many.name in support.present for support in many.supports)


def test_a_word_outside_the_vocabulary_is_spelled(tiny_clip: TinyClip) -> None:
    tokens = tiny_clip.tokenizer(["a gear", "a zebra"])
    assert tokens.shape == (2, 32)
    assert (tokens[0] > 0).sum() == 4
    assert (tokens[1] > 0).sum() == 8
    assert tiny_clip.knows("a gear")
    assert not tiny_clip.knows("a zebra")
    assert (tokens.max(1).values == tiny_clip.tokenizer.end).all()


def test_every_class_and_setting_is_in_the_vocabulary() -> None:
    tokenizer = world_tokenizer(32)
    for kind in CLASSES.values():
        assert all(word in tokenizer.codes for word in f"{kind.name} {kind.attributes}".lower().split())


def test_the_mean_over_cells_is_the_image_vector(tiny_clip: TinyClip) -> None:
    images = torch.randn(2, 3, 64, 64)
    cells = dense_image_vectors(tiny_clip.clip, images)
    torch.testing.assert_close(cells.mean((2, 3)), tiny_clip.clip.encode_image(images), atol=1e-5, rtol=1e-4)


def test_priors_and_presence_are_shares(tiny_clip: TinyClip) -> None:
    cells = tiny_clip.cells(torch.randn(2, 3, 64, 64))
    vectors = tiny_clip.encode([ClassText("gear"), ClassText("zebra", "zebra with stripes", ("grass",))])
    torch.testing.assert_close(vectors.refined.norm(dim=1), torch.ones(2))
    prior, presence = tiny_clip.prior(cells, vectors.foreground), tiny_clip.presence(cells, vectors.foreground)
    assert prior.shape == (2, 2, 8, 8)
    assert presence.shape == (2, 2)
    for shares in (prior, presence):
        assert shares.min() >= 0
        assert shares.max() <= 1


def test_phrases_are_true_exactly_of_the_scenes_that_show_them(base_bank: SceneBank) -> None:
    numbers = np.arange(6)
    phrases, truth = chosen_phrases(np.random.default_rng(0), base_bank, numbers, 60)
    assert truth.shape == (6, len(phrases))
    assert (truth.sum(1) == [len(base_bank.present[number]) + 1 for number in numbers]).all()


def test_clip_learns_through_both_towers(tiny_clip: TinyClip, base_bank: SceneBank) -> None:
    recipe, tokenizer = read_recipe(RECIPE).clip, tiny_clip.tokenizer
    clip, _ = build_clip(recipe, tokenizer.vocab_size)
    phrases, truth = chosen_phrases(np.random.default_rng(0), base_bank, np.arange(4), 8)
    captions = tokenizer(base_bank.captions[:4])
    clip_loss(clip, torch.randn(4, 3, 64, 64), captions, tokenizer(phrases), torch.from_numpy(truth)).backward()
    assert not [name for name, one in clip.named_parameters() if one.grad is None or not one.grad.any()]


def test_a_model_folder_keeps_its_clip(tiny_clip: TinyClip, tmp_path: Path) -> None:
    save_model(tmp_path, "small", build_backbone("tiny"), clip=tiny_clip, input_size=(64, 64))
    again = load_model(tmp_path).text_encoder()
    asked = [ClassText("gear", "gear with teeth")]
    assert again is not None
    assert F.cosine_similarity(again.encode(asked).refined, tiny_clip.encode(asked).refined).item() > 0.999


def test_roc_auc_is_the_share_of_pairs_in_order() -> None:
    score, truth = np.array([0.1, 0.4, 0.35, 0.8]), np.array([False, False, True, True])
    assert roc_auc(score, truth) == pytest.approx(0.75)
    assert roc_auc(np.zeros(4), truth) == pytest.approx(0.5)


def test_a_recipe_with_an_unknown_key_is_an_error_that_names_it(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE.read_text() + "colour: blue\n")
    with pytest.raises(SpecError, match="colour"):
        read_recipe(recipe)
