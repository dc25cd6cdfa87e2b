"""Text vectors: from a table, from open_clip, cached by content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import Tensor

from tlg.errors import CheckpointError, SpecError
from tlg.evidence import text_encoder
from tlg.evidence.text_encoder import ClassText, ClipTextEncoder, TableTextEncoder, TextSpec, build_text_encoder

NAMES = ["cat", "cat with fur", "house", "garden", "cow"]


@pytest.fixture
def table(tmp_path: Path) -> str:
    vectors = np.random.default_rng(0).standard_normal((len(NAMES), 8)).astype(np.float16)
    file = tmp_path / "table.npz"
    np.savez(file, names=np.array(NAMES), vectors=vectors)
    return str(file)


def test_a_table_gives_unit_vectors_of_name_attributes_and_surroundings(table: str) -> None:
    encoder = build_text_encoder(TextSpec(table=table))
    assert isinstance(encoder, TableTextEncoder)
    assert encoder.dim == 8
    vectors = encoder.encode([ClassText("Cat", "cat with fur", ("house", "garden")), ClassText("cow")])
    assert torch.equal(vectors.foreground, encoder.vectors[[0, 4]])
    # What the table lacks falls back: the name stands for its attributes, everything for the surroundings.
    assert torch.equal(vectors.refined, encoder.vectors[[1, 4]])
    expected = encoder.vectors[[2, 3]].mean(dim=0)
    torch.testing.assert_close(vectors.background[0], expected / expected.norm())
    for one in (vectors.foreground, vectors.refined, vectors.background):
        torch.testing.assert_close(one.norm(dim=-1), torch.ones(2))


def test_a_name_the_table_lacks_is_an_error_that_lists_the_nearest(table: str) -> None:
    with pytest.raises(SpecError, match=r"has no class 'cot'; the nearest names are cow, cat"):
        TableTextEncoder(table).encode([ClassText("cot")])


def test_other_files_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", something=np.zeros(3))
    with pytest.raises(CheckpointError, match="expected an npz with `names` and `vectors`"):
        TableTextEncoder(tmp_path / "other.npz")
    with pytest.raises(CheckpointError, match="cannot be read"):
        TableTextEncoder(tmp_path / "nowhere.npz")


class FakeClip:
    """Stands for open_clip's text tower: a vector per sentence, and how often it was asked."""

    def __init__(self) -> None:
        self.sentences: list[str] = []

    def encode_text(self, tokens: Tensor) -> Tensor:
        return torch.randn(len(tokens), 512, generator=torch.Generator().manual_seed(len(self.sentences)))

    def tokenizer(self, sentences: list[str]) -> Tensor:
        self.sentences += sentences
        return torch.zeros(len(sentences), 77)


@pytest.fixture
def clip(monkeypatch: pytest.MonkeyPatch) -> FakeClip:
    fake = FakeClip()
    monkeypatch.setattr(text_encoder, "load_clip", lambda model, pretrained, device: (fake, fake.tokenizer))
    return fake


def test_sentences_come_from_the_template_and_have_defaults(clip: FakeClip, tmp_path: Path) -> None:
    encoder = ClipTextEncoder(TextSpec(default_attributes="{} in detail"), cache=tmp_path)
    encoder.encode([ClassText("cat", "cat with fur", ("house", "garden")), ClassText("cow")])
    assert encoder.dim == 512
    assert clip.sentences == [
        "a clean origami cat.",
        "a clean origami cat with fur.",
        "a clean origami house,garden.",
        "a clean origami cow.",
        "a clean origami cow in detail.",
        "a clean origami background.",
    ]


def test_vectors_are_cached_by_what_they_depend_on(clip: FakeClip, tmp_path: Path) -> None:
    first = ClipTextEncoder(cache=tmp_path).encode([ClassText("cat", "cat with fur")])
    asked = len(clip.sentences)
    again = ClipTextEncoder(cache=tmp_path).encode([ClassText("cat", "cat with fur")])
    assert len(clip.sentences) == asked
    assert torch.equal(again.foreground, first.foreground)
    ClipTextEncoder(TextSpec(template="a photo of {}."), cache=tmp_path).encode([ClassText("cat")])
    assert len(clip.sentences) > asked


def test_an_open_clip_model_works_with_random_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import open_clip

    def random(model: str, pretrained: str, device: str) -> tuple:
        config = open_clip.get_model_config(model)
        config["text_cfg"] |= {"layers": 1}
        config["vision_cfg"] |= {"layers": 1}
        config.pop("custom_text", None)
        return open_clip.CLIP(**config).eval(), open_clip.get_tokenizer(model)

    monkeypatch.setattr(text_encoder, "load_clip", random)
    vectors = ClipTextEncoder(cache=tmp_path).encode([ClassText("cat")])
    assert vectors.refined.shape == (1, 512)
    torch.testing.assert_close(vectors.refined.norm(dim=-1), torch.ones(1))


def test_offline_the_error_names_model_weights_and_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no network in this test")

    monkeypatch.setattr("open_clip.create_model", offline)
    with pytest.raises(CheckpointError, match=r"'ViT-B-32' with weights 'openai'.*`pretrained`.*`table`"):
        ClipTextEncoder(cache=tmp_path).encode([ClassText("cat")])


def test_an_unknown_model_and_a_template_without_a_place_are_refused() -> None:
    with pytest.raises(SpecError, match="knows no model 'ViT-B-3'; the nearest names are ViT-B-32"):
        ClipTextEncoder(TextSpec(model="ViT-B-3"))
    with pytest.raises(ValidationError, match=r"needs exactly one \{\}"):
        TextSpec(template="a photo")
