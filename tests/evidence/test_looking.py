"""`tlg prior IMAGE...`: what is shown is what the annotator feeds the network; any open_clip model's text instead."""

import json
import shutil
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from typer.testing import CliRunner

from tlg import exemplars
from tlg.annotators import network
from tlg.annotators.network import NetworkAnnotator
from tlg.annotators.protocol import AnnotateParams
from tlg.cli import app
from tlg.errors import CheckpointError, SpecError, TlgError
from tlg.evaluation import looking
from tlg.evidence.names import said
from tlg.evidence.open_clip.clip_loading import load_text_side
from tlg.evidence.open_clip.clip_spec import ClipPriorSpec, read_clip_spec
from tlg.hub import zoo
from tlg.pictures import decode, to_network_input

CLIP_NAME = "tlg-test-clip"
CLIP_CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}


@pytest.fixture(scope="module")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random model that open_clip knows by name, its weights in a file."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / f"{CLIP_NAME}.json").write_text(json.dumps(CLIP_CONFIG))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(open_clip.create_model(CLIP_NAME).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (30, 50, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "picture.png")
    return tmp_path / "picture.png"


def tlg_prior(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["prior", *map(str, arguments), "--model", "tlg-tiny"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def words_the_model_knows(exemplar_folder: Path, tmp_path: Path) -> Path:
    for name, source in {"mug": "fox", "truck": "hare"}.items():
        shutil.copytree(exemplar_folder / source, tmp_path / "set" / name)
    return tmp_path / "set"


def test_what_is_shown_is_what_the_network_is_fed(
    words_the_model_knows: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    # These exemplars show something else than their names say, and would not bear them out.
    monkeypatch.setattr(said, "BORNE_OUT", -100.0)
    output = tlg_prior(picture, "--exemplars", words_the_model_knows, "--out", tmp_path / "out")
    assert [line.split()[2] for line in output.splitlines()] == ["mug", "truck"]
    annotator = NetworkAnnotator(zoo.load("tlg-tiny"), exemplars.load(str(words_the_model_knows)), AnnotateParams())
    fed: list[torch.Tensor] = []

    def decoded(network, features, maps):
        fed.append(torch.stack(list(maps.values()))[None])
        return {}

    # Both classes count as present, however unlike them the picture is.
    monkeypatch.setattr(network, "PRESENT", 0.0)

    annotator._decoded = decoded  # type: ignore[method-assign]
    (answers,) = annotator.annotate([decode(picture.read_bytes())])
    expected = F.interpolate(fed[0], size=(30, 50), mode="bilinear")[0, 0].numpy()
    shown = np.asarray(Image.open(tmp_path / "out" / "picture--mug.map.png"))
    assert np.abs(shown / 255 - expected).max() < 1 / 255
    assert float(output.split()[3]) == pytest.approx(answers[0].presence, abs=6e-3)
    image = to_network_input(np.asarray(Image.open(picture)), annotator.model.input_size)[None]
    exemplars_alone = annotator.fitted.maps(annotator._encode(image), image)
    assert not torch.allclose(fed[0], exemplars_alone, atol=1e-2)


@pytest.mark.parametrize("family", ["activation", "dense"])
def test_any_open_clip_model_gives_the_text_maps(family, clip_weights, exemplar_folder, picture, tmp_path):
    flags = ["--clip", CLIP_NAME, "--clip-weights", clip_weights, "--family", family, "--set", "background=[sky, sea]"]
    tlg_prior(picture, "--exemplars", exemplar_folder, "--out", tmp_path / "out", *flags)
    model, loaded = zoo.load("tlg-tiny"), exemplars.load(str(exemplar_folder))
    given = {"architecture": CLIP_NAME, "weights": str(clip_weights), "family": family}
    text = load_text_side(read_clip_spec(None, given, ["background=[sky, sea]"]))
    assert text.prior.spec.background == ("sky", "sea")
    maps, _ = looking.with_text(model, loaded, text)(np.asarray(Image.open(picture)))
    shown = np.asarray(Image.open(tmp_path / "out" / "picture--hare.map.png"))
    assert shown.shape == (30, 50)
    assert np.abs(shown / 255 - maps[1]).max() < 1 / 255


def test_the_weights_of_the_file_are_what_is_used(clip_weights: Path):
    text = load_text_side(ClipPriorSpec(architecture=CLIP_NAME, weights=str(clip_weights)))
    state = torch.load(clip_weights, weights_only=True)
    assert text.side == 32
    assert text.context_length == 16
    assert text.prior.logit_scale == pytest.approx(float(state["logit_scale"].exp()))
    token = text.tokenize(["a fox"])
    assert token.shape == (1, 16)
    again = load_text_side(ClipPriorSpec(architecture=CLIP_NAME, weights=str(clip_weights)))
    torch.testing.assert_close(text.encode(["a fox"]), again.encode(["a fox"]))


def test_weights_that_are_neither_file_nor_tag_are_named_with_the_way_out(tmp_path: Path):
    missing = tmp_path / "clip.pt"
    with pytest.raises(
        CheckpointError, match=rf"'{missing}': there is no such file \(looked in {tmp_path}\).*openai"
    ) as e:
        load_text_side(ClipPriorSpec(architecture="ViT-B-16", weights=str(missing)))
    assert "--clip-weights" in str(e.value)


def test_offline_the_error_names_weights_the_place_looked_at_and_the_way_out(monkeypatch: pytest.MonkeyPatch):
    def offline(*args: object, **kwargs: object) -> None:
        raise RuntimeError("no network in this test")

    monkeypatch.setattr("open_clip.create_model", offline)
    expected = r"'openai' of ViT-B-16 are neither in \S+ nor could they be downloaded \(no network.*--clip-weights"
    with pytest.raises(CheckpointError, match=expected):
        load_text_side(ClipPriorSpec())


def test_a_file_with_other_weights_or_none_is_refused(clip_weights: Path, tmp_path: Path):
    with pytest.raises(CheckpointError, match=r"weights\.pt are not those of ViT-B-32 \(.*name their own"):
        load_text_side(ClipPriorSpec(architecture="ViT-B-32", weights=str(clip_weights)))
    (tmp_path / "clip.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(CheckpointError, match=rf"clip\.pt are not those of {CLIP_NAME}"):
        load_text_side(ClipPriorSpec(architecture=CLIP_NAME, weights=str(tmp_path / "clip.pt")))


def test_an_unknown_clip_is_answered_with_the_nearest_names():
    with pytest.raises(SpecError, match=r"no model 'ViT-B-61'; the nearest names are .*ViT-B-16"):
        load_text_side(ClipPriorSpec(architecture="ViT-B-61"))


def test_a_background_prompt_beyond_the_tokenizers_limit_is_named(clip_weights: Path):
    long = "forest " * 20
    with pytest.raises(SpecError, match=r"background prompt 'forest .*reads at most 16"):
        load_text_side(ClipPriorSpec(architecture=CLIP_NAME, weights=str(clip_weights), background=(long,)))


def test_background_prompts_come_from_a_file_and_the_documented_config_holds_the_defaults(tmp_path: Path):
    assert len(ClipPriorSpec().background) == 30
    (tmp_path / "prompts.yaml").write_text("prompts: [desk, window]")
    (tmp_path / "clip.yaml").write_text(f"background: {tmp_path / 'prompts.yaml'}\nfamily: dense")
    spec = read_clip_spec(str(tmp_path / "clip.yaml"), {"family": "activation", "weights": None})
    assert (spec.background, spec.family, spec.weights) == (("desk", "window"), "activation", "openai")
    documented = Path(__file__).parents[2] / "configs" / "prior" / "clip.yaml"
    assert read_clip_spec(str(documented), {}) == ClipPriorSpec()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("famly: dense", "unknown key 'famly' .did you mean 'family'"),
        ("family: cam", "family: Input should be 'activation' or 'dense'"),
        ("background: []", "background: .*at least 1 item"),
        ("template: a picture", r"needs exactly one \{\}"),
        ("background: nowhere.yaml", "nowhere.yaml"),
    ],
)
def test_a_bad_clip_config_is_an_error_that_says_where(content: str, message: str, tmp_path: Path):
    (tmp_path / "clip.yaml").write_text(content)
    with pytest.raises(TlgError, match=message):
        read_clip_spec(str(tmp_path / "clip.yaml"), {})


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--exemplars", "set"], "no IMAGE was given"),
        (["a.jpg"], "no --exemplars was given"),
        (["a.jpg", "--dataset", "train.yaml"], "IMAGE does not go with --dataset"),
        (["--clip", "RN50", "--dataset", "train.yaml"], "--clip does not go with --dataset"),
        (["a.jpg", "--exemplars", "set", "--layout", "per_image"], "--layout goes with --dataset alone"),
        (["--dataset", "train.yaml", "--layout", "flat"], "--layout flat: expected per_class or per_image"),
    ],
)
def test_options_that_do_not_go_together_are_refused(arguments: list[str], message: str, tmp_path: Path):
    result = CliRunner().invoke(app, ["prior", "--out", str(tmp_path), *arguments])
    assert isinstance(result.exception, SpecError)
    assert message in str(result.exception)
