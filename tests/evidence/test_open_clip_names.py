"""Any open_clip model as a model folder's source of names: one small model with random weights, all of the way."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import open_clip
import pytest
import torch
import yaml
from typer.testing import CliRunner

from tests.annotators.sets import NAMES, exemplar_set, picture, scene
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator
from tlg.cli import app
from tlg.errors import CheckpointError, SpecError, TlgError
from tlg.evaluation.evaluate import evaluate
from tlg.evidence.names import said
from tlg.evidence.names.open_clip import OpenClipNames
from tlg.evidence.names.registry import Asked, name_evidence
from tlg.evidence.names.taught import TaughtKinds, TaughtNames
from tlg.evidence.open_clip.clip_spec import ClipPriorSpec
from tlg.exemplars import LoadedClass, LoadedExemplars
from tlg.hub import command, packing, zoo
from tlg.hub.folder import load_model, save_model
from tlg.hub.model_file import MODEL_FILE
from tlg.hub.open_clip import weights_of
from tlg.network.backbones.registry import build_backbone
from tlg.network.tlg import TLG, NetworkSpec

CLIP = "tlg-names-clip"
CONFIG = {
    "embed_dim": 8,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1},
}
SIDE = 64
WHOLE = AnnotateParams(tile="off")
REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a model that open_clip knows by name in this process alone."""
    folder = tmp_path_factory.mktemp("clip")
    (folder / f"{CLIP}.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(open_clip.create_model(CLIP).state_dict(), folder / "weights.pt")
    return folder / "weights.pt"


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "plain"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone("tiny")
        net = TLG(NetworkSpec(backbone="tiny", width=16, text=False), backbone)
    save_model(folder, "plain", backbone, net, input_size=(SIDE, SIDE))
    return folder


def made(plain: Path, folder: Path, weights: object, *settings: str) -> str:
    flags = ["--clip", CLIP, "--clip-weights", str(weights), "--set", "background=[sky, sea]"]
    flags += [word for setting in settings for word in ("--set", setting)]
    result = CliRunner().invoke(app, ["models", "add-clip", str(plain), str(folder), *flags], catch_exceptions=False)
    return result.output


@pytest.fixture(scope="module")
def folder(plain: Path, weights: Path) -> Path:
    made(plain, plain.parent / "named", weights)
    return plain.parent / "named"


@pytest.fixture
def believed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What random weights say of exemplars would not bear any name out."""
    monkeypatch.setattr(said, "BORNE_OUT", -100.0)


def images(count: int = 2) -> torch.Tensor:
    return torch.randn(count, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))


def source(folder: Path, names: tuple[str, ...] = NAMES) -> OpenClipNames:
    model = load_model(folder, "cpu")
    found = name_evidence(model.names, Asked(names, model.backbone, model.input_size, open_clip=model.open_clip))
    assert isinstance(found, OpenClipNames)
    return found


@pytest.mark.parametrize("family", ["activation", "dense"])
def test_it_keeps_the_contract_of_a_source(plain: Path, weights: Path, tmp_path: Path, family: str) -> None:
    made(plain, tmp_path / "model", weights, f"family={family}")
    names = source(tmp_path / "model")
    assert list(names.known) == [True, True]
    with torch.inference_mode():
        seen = names.see(images(), None)  # type: ignore[arg-type]
        assert names.odds(seen).shape == (2, len(NAMES))
        for row in range(2):
            alone = names.see(images()[[row]], None)  # type: ignore[arg-type]
            torch.testing.assert_close(names.odds(seen[[row]]), names.odds(alone), atol=1e-4, rtol=0)
            for index in range(len(NAMES)):
                map_HW = names.map(seen[[row]], index)
                assert map_HW.shape == (SIDE, SIDE)
                assert 0 <= float(map_HW.min()) < float(map_HW.max()) <= 1
                torch.testing.assert_close(map_HW, names.map(alone, index), atol=1e-4, rtol=0)


def test_a_name_that_fits_as_well_as_any_prompt_says_nothing(plain: Path, weights: Path, tmp_path: Path) -> None:
    made(plain, tmp_path / "model", weights, "background=[mug, mug]")
    names = source(tmp_path / "model", ("mug", "truck"))
    odds_BN = names.odds(names.see(images(), None))  # type: ignore[arg-type]
    torch.testing.assert_close(odds_BN[:, 0], torch.zeros(2), atol=1e-4, rtol=0)
    assert float(odds_BN[:, 1].abs().max()) > 1e-3


@pytest.mark.usefixtures("believed")
def test_names_change_answers_and_a_batch_changes_none(plain: Path, folder: Path) -> None:
    annotator = load_annotator(str(folder), exemplar_set(), WHOLE, "cpu")
    assert annotator.trusted == [True, True]
    pictures = [picture(scene([50, k], [NAMES[k]], NAMES[k])) for k in range(2)]
    together = annotator.annotate(pictures)
    assert [annotator.annotate([one])[0] for one in pictures] == together
    assert load_annotator(str(plain), exemplar_set(), WHOLE, "cpu").annotate(pictures) != together


def test_the_exemplars_decide_whether_a_name_is_believed(folder: Path) -> None:
    annotator = load_annotator(str(folder), exemplar_set(), WHOLE, "cpu")
    odds_SN = torch.tensor([[5.0, 0], [5, 0], [0, 0.1], [0, 0.1]])
    assert said.borne_out(annotator.names, odds_SN, [0, 0, 1, 1]) == [True, False]


def test_what_was_taught_speaks_before_it(folder: Path) -> None:
    model = load_model(folder, "cpu")
    kinds = TaughtKinds(model.backbone, ["person"], 4).eval()
    asked = Asked(["man", "microscope"], model.backbone, (SIDE, SIDE), kinds=kinds, open_clip=model.open_clip)
    names = name_evidence(model.names, asked)
    assert isinstance(names, TaughtNames)
    assert (list(names.taught), list(names.known)) == ([True, False], [True, True])
    assert names.looks_at_pictures
    below = source(folder, ("man", "microscope"))
    with torch.inference_mode():
        features = model.backbone.encode(images())
        seen = names.see(images(), features)
        of_below = below.see(images(), features)
        assert torch.equal(names.odds(seen)[:, 1], below.odds(of_below)[:, 1])
        assert not torch.equal(names.odds(seen)[:, 0], below.odds(of_below)[:, 0])
        assert torch.equal(names.map(seen[[1]], 1), below.map(of_below[[1]], 1))


def test_a_name_that_clip_would_cut_is_refused(folder: Path) -> None:
    long = " ".join(["striped"] * 20)
    with pytest.raises(SpecError, match=r"class 'striped .*reads at most 16; shorten the name"):
        load_annotator(str(folder), exemplar_set((NAMES[0], long)), WHOLE, "cpu")


def test_the_folder_is_whole_and_its_digest_follows_what_answers_depend_on(
    plain: Path, folder: Path, weights: Path, tmp_path: Path
) -> None:
    output = made(plain, tmp_path / "again", weights)
    listed = [line for line in output.splitlines() if "  " in line]
    assert {Path(line.split("  ")[1]).name for line in listed} == {one.name for one in (tmp_path / "again").iterdir()}
    assert f"model digest {zoo.digest_of(tmp_path / 'again')}" in output
    made(plain, tmp_path / "dense", weights, "family=dense")
    state = torch.load(weights, weights_only=True)
    state["logit_scale"] += 1
    torch.save(state, tmp_path / "other.pt")
    made(plain, tmp_path / "other", tmp_path / "other.pt")
    digests = [
        zoo.digest_of(one) for one in (folder, tmp_path / "again", tmp_path / "dense", tmp_path / "other", plain)
    ]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 4
    packing.pack(folder, tmp_path / "one.zip")
    packing.unpack(tmp_path / "one.zip", tmp_path / "unpacked")
    assert load_model(tmp_path / "unpacked").digest == digests[0]
    assert "open_clip.pt" in "\n".join(command.card(str(folder)))


def test_another_clip_takes_the_place_of_the_first(folder: Path, weights: Path, tmp_path: Path) -> None:
    made(folder, tmp_path / "second", weights, "template=the {}")
    model = load_model(tmp_path / "second")
    assert model.open_clip is not None
    assert model.open_clip.prior.spec.template == "the {}"


def test_weights_at_an_address_are_named_and_fetched_for_another_machine(
    plain: Path, weights: Path, tmp_path: Path
) -> None:
    published = tmp_path / "clip.pt"
    published.write_bytes(weights.read_bytes())
    made(plain, tmp_path / "model", published.as_uri())
    assert not (tmp_path / "model" / "open_clip.pt").exists()
    digest = load_model(tmp_path / "model").digest
    list(command.fetch(str(tmp_path / "model"), tmp_path / "usb"))
    published.write_bytes(b"another file")
    with pytest.raises(CheckpointError, match=r"clip\.pt are not the file they were: .*`tlg models add-clip`"):
        load_model(tmp_path / "model")
    assert load_model(tmp_path / "usb" / "model").digest == digest


def test_a_damaged_file_and_a_folder_without_settings_are_refused(folder: Path, plain: Path, tmp_path: Path) -> None:
    packing.pack(folder, tmp_path / "one.zip")
    packing.unpack(tmp_path / "one.zip", tmp_path / "damaged")
    (tmp_path / "damaged" / "open_clip.pt").write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"open_clip\.pt is damaged or not the file it was"):
        load_model(tmp_path / "damaged")
    packing.pack(plain, tmp_path / "plain.zip")
    packing.unpack(tmp_path / "plain.zip", tmp_path / "bare")
    content = json.loads((tmp_path / "bare" / MODEL_FILE).read_text())
    (tmp_path / "bare" / MODEL_FILE).write_text(json.dumps(content | {"names": "open_clip"}))
    with pytest.raises(CheckpointError, match="leaves names to `open_clip` and describes none"):
        load_model(tmp_path / "bare")


@pytest.mark.parametrize(
    ("clip", "given", "message"),
    [
        ("ViT-B-61", "openai", "knows no model 'ViT-B-61'; the nearest names are"),
        ("ViT-B-16-SigLIP", "webli", "other libraries' parts .*choose a CLIP of open_clip's own"),
        (CLIP, "nowhere.pt", r"the weights cannot be read: .*nowhere\.pt"),
        ("ViT-B-32", "WEIGHTS", r"weights\.pt are not those of ViT-B-32"),
    ],
)
def test_what_cannot_be_had_is_told_and_leaves_nothing(
    plain: Path, weights: Path, tmp_path: Path, clip: str, given: str, message: str
) -> None:
    flags = ["--clip", clip, "--clip-weights", str(weights) if given == "WEIGHTS" else given]
    with pytest.raises(TlgError, match=message):
        CliRunner().invoke(
            app, ["models", "add-clip", str(plain), str(tmp_path / "out"), *flags], catch_exceptions=False
        )
    assert not (tmp_path / "out").exists()


def test_a_tag_is_the_file_that_its_publisher_has_on_a_hub() -> None:
    address, published = weights_of(ClipPriorSpec(architecture="ViT-B-16", weights="openai"))
    assert address == "hf://timm/vit_base_patch16_clip_224.openai/open_clip_model.safetensors"
    assert published["quick_gelu"]
    with pytest.raises(SpecError, match="has no weights"):
        weights_of(ClipPriorSpec(weights=None))


def test_zero_exemplars_are_enough_where_the_network_reads_names(weights: Path, tmp_path: Path) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        backbone = build_backbone("tiny")
        net = TLG(NetworkSpec(backbone="tiny", behaviour="reading", width=16, names=True, text=False), backbone)
    save_model(tmp_path / "reading", "reading", backbone, net, input_size=(SIDE, SIDE))
    made(tmp_path / "reading", tmp_path / "named", weights)
    names = LoadedExemplars(
        "names", tuple(LoadedClass(name, k, None, (), ()) for k, name in enumerate(NAMES, 1)), (), "d"
    )
    answers = load_annotator(str(tmp_path / "named"), names, WHOLE, "cpu").annotate(
        [picture(scene([5, 0], [NAMES[0]]))]
    )
    assert [answer.class_name for answer in answers[0]] == list(NAMES)


@pytest.mark.usefixtures("believed")
def test_evaluate_shows_it_the_pictures(index_maps: Path, plain: Path, folder: Path, tmp_path: Path) -> None:
    content = {
        "benchmark": {"kind": "index_maps", "root": str(index_maps), "episodes": str(index_maps / "episodes.json")},
        "shots": [1],
        "folds": ["0"],
        "device": "cpu",
        "mirrored": True,
    }
    for model in (plain, folder):
        (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(content | {"model": str(model)}))
        evaluate(tmp_path / "evaluate.yaml", dump=tmp_path / model.name)
    files = sorted((tmp_path / "plain").iterdir())
    assert any(file.read_bytes() != (tmp_path / "named" / file.name).read_bytes() for file in files)


def test_a_model_without_it_never_imports_open_clip(plain: Path) -> None:
    code = (
        "import sys, numpy as np, tlg\nfrom tlg.hub.folder import load_model\n"
        f"load_model({str(plain)!r})\nprint('open_clip' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "False"
