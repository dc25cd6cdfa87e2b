"""Model folders, published files and models by name."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tests.network import parity_recipe as recipe
from tlg.errors import CheckpointError
from tlg.evidence.text_encoder import ClassText
from tlg.hub import zoo
from tlg.hub.backbones import load_backbone
from tlg.hub.folder import TEXT_FILE, import_checkpoint, load_model, save_model
from tlg.hub.model_file import MODEL_FILE
from tlg.hub.weights import read_state_dict
from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import build_backbone
from tlg.network.spec import NetworkSpec
from tlg.network.text_spec import TextSpec
from tlg.network.tlg import TLG


def tiny() -> tuple[Backbone, TLG]:
    torch.manual_seed(0)
    backbone = build_backbone("tiny")
    return backbone, TLG(NetworkSpec(backbone="tiny", width=32, text=False), backbone)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "model", "mine", *tiny(), input_size=(192, 192))
    return tmp_path / "model"


def test_saved_is_loaded(folder: Path) -> None:
    _, network = tiny()
    model = zoo.load(folder)
    assert (model.name, model.input_size, model.text_encoder()) == ("mine", (192, 192), None)
    assert model.digest == zoo.digest_of(folder)
    assert model.network is not None
    assert model.network.backbone is model.backbone
    assert not model.network.training
    assert not model.backbone.training
    for name, value in network.state_dict().items():
        assert torch.equal(model.network.state_dict()[name], value)


def test_a_table_of_text_vectors_travels_in_the_folder_and_counts(tmp_path: Path) -> None:
    """Whatever becomes of the file that it was made of."""
    digests = []
    for value in (1.0, 2.0):
        np.savez(tmp_path / "table.npz", names=["cat", "dog"], vectors=np.array([[value, 0], [0, 1]], np.float32))
        save_model(tmp_path / f"model-{value}", "mine", *tiny(), text=TextSpec(table=str(tmp_path / "table.npz")))
        (tmp_path / "table.npz").unlink()
        (tmp_path / f"model-{value}").rename(tmp_path / f"moved-{value}")
        model = load_model(tmp_path / f"moved-{value}")
        encoder = model.text_encoder()
        assert encoder is not None
        assert encoder.encode([ClassText("dog")]).foreground.tolist() == [[0, 1]]
        digests.append(model.digest)
    assert digests[0] != digests[1]
    (tmp_path / "moved-1.0" / TEXT_FILE).write_bytes(b"another")
    with pytest.raises(CheckpointError, match=r"text\.npz is damaged or not the file it was"):
        load_model(tmp_path / "moved-1.0")


def test_a_key_of_earlier_versions_is_read_and_stays_part_of_the_digest(folder: Path) -> None:
    """Folders that were written with `prior` keep the identity of what they answered."""
    content = json.loads((folder / MODEL_FILE).read_text())
    digest = zoo.digest_of(folder)
    (folder / MODEL_FILE).write_text(json.dumps(content | {"prior": {}}))
    assert zoo.digest_of(folder) == zoo.load(folder).digest != digest
    (folder / MODEL_FILE).write_text(json.dumps(content | {"prior": {"strength": 2}}))
    with pytest.raises(CheckpointError, match="prior: Extra inputs are not permitted"):
        zoo.load(folder)


def test_the_digest_follows_the_content_and_not_the_name(tmp_path: Path, folder: Path) -> None:
    backbone, network = tiny()
    save_model(tmp_path / "renamed", "other", backbone, network, input_size=(192, 192))
    save_model(tmp_path / "resized", "mine", backbone, network, input_size=(256, 256))
    with torch.no_grad():
        network.head.decoder.prior_gain.add_(1)
    save_model(tmp_path / "trained", "mine", backbone, network, input_size=(192, 192))
    digests = [zoo.digest_of(tmp_path / name) for name in ("model", "renamed", "resized", "trained")]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_a_model_may_be_a_backbone_alone(tmp_path: Path) -> None:
    save_model(tmp_path, "prior", tiny()[0])
    assert load_model(tmp_path).network is None


def test_a_damaged_file_is_refused_by_name(folder: Path) -> None:
    file = folder / "network.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(CheckpointError, match=r"network\.safetensors is damaged.*SHA-256"):
        load_model(folder)


def test_a_missing_file_is_refused_by_name(folder: Path) -> None:
    (folder / "backbone.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"not whole: .*backbone\.safetensors"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "tlg-model-9"}, "tlg-model-9.*update tlg"),
        ({"extra": 1}, "extra: Extra inputs"),
        ({"network": {"backbone": "tiny", "width": 48, "text": False}}, "does not fit the network"),
        ({"files": {}}, "lists no network.safetensors"),
    ],
)
def test_a_foreign_model_file_is_refused(folder: Path, change: dict, message: str) -> None:
    file = folder / "model.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(CheckpointError, match=message):
        load_model(folder)


def test_other_folders_and_unknown_names_are_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is not a model folder"):
        zoo.load(tmp_path)
    with pytest.raises(CheckpointError, match=r"did you mean 'tlg-resnet50'\?"):
        zoo.load("tlg-resnet5O")


def test_a_known_backbone_without_its_download_names_weight_place_and_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def offline(*args: object, **kwargs: object) -> None:
        raise URLError("no network in this test")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", offline)
    with pytest.raises(CheckpointError, match=r"ResNet50_Weights.*resnet50-.*\.pth.*path or URI"):
        zoo.load("tlg-resnet50")
    assert zoo.digest_of("tlg-resnet50") != zoo.digest_of("tlg-vgg16")


@pytest.mark.parametrize("suffix", ["safetensors", "pth"])
def test_backbone_weights_come_from_a_file(tmp_path: Path, suffix: str) -> None:
    source = build_backbone("mobilenet_v2")
    state = {**source.state_dict(), "classifier.1.bias": torch.zeros(1000)}
    file = tmp_path / f"weights.{suffix}"
    if suffix == "pth":
        torch.save(state, file)
    else:
        save_file(state, file)
    loaded = load_backbone("mobilenet_v2", str(file))
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in source.state_dict().items())


def test_wrong_weights_are_refused_by_name(tmp_path: Path) -> None:
    file = tmp_path / "tiny.safetensors"
    save_file(build_backbone("tiny").state_dict(), file)
    with pytest.raises(CheckpointError, match=r"not a mobilenet_v2 state dict: \d+ of \d+ entries are missing"):
        load_backbone("mobilenet_v2", str(file))
    with pytest.raises(CheckpointError, match="nowhere"):
        load_backbone("tiny", str(tmp_path / "nowhere.safetensors"))


class Malicious:
    def __reduce__(self) -> tuple:
        return (Path.touch, (Path("ran"),))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut short"])
def test_damaged_torch_files_are_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "best_model.pt"
    file.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"best_model\.pt is not a torch file"):
        read_state_dict(file)


def test_nothing_in_a_torch_file_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"weight": Malicious()}, tmp_path / "best_model.pt")
    (tmp_path / "bare.pt").write_bytes(pickle.dumps(Malicious()))
    for name in ("best_model.pt", "bare.pt"):
        with pytest.raises(CheckpointError, match="not a torch file of plain tensors"):
            read_state_dict(tmp_path / name)
    assert not (tmp_path / "ran").exists()


def test_a_published_file_becomes_a_model_folder(tmp_path: Path) -> None:
    state = recipe.published_state_dict("resnet50")
    torch.save(state, tmp_path / "best_model.pt")
    import_checkpoint(tmp_path / "best_model.pt", "resnet50", tmp_path / "model")
    model = zoo.load(tmp_path / "model")
    assert model.network is not None
    assert model.network.spec.behaviour == "released"
    assert torch.equal(model.network.head.proj.weight, state["module.proj.weight"])
    assert torch.equal(model.backbone.state_dict()["conv1.weight"], state["module.backbone.conv1.weight"])
