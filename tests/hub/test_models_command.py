"""`tlg models`: the table, the card, fetching for another machine, one file of a folder."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from tests import outside
from tlg.cli import app
from tlg.errors import CheckpointError
from tlg.hub import command, packing, zoo
from tlg.hub.folder import load_model, save_model
from tlg.hub.licences import NOT_STATED, model_licences, package_licences
from tlg.hub.model_file import MODEL_FILE, Card
from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import build_backbone


def tiny() -> Backbone:
    torch.manual_seed(0)
    return build_backbone("tiny")


@pytest.fixture
def toy_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model that another package brings; its backbone is published elsewhere."""
    weights, folder = tmp_path / "published.safetensors", tmp_path / "toy"
    save_file(tiny().state_dict(), weights)
    card = Card(good_for="toys", licence="MIT", weights_licence="CC0-1.0")
    save_model(folder, "toy", tiny(), backbone_weights=str(weights), card=card)
    (folder / "CARD.md").write_text("# A toy\n")
    source = f"from pathlib import Path\nTOY = Path({str(folder)!r})\n"
    outside.install(tmp_path, monkeypatch, "toy_models", source, {"tlg.models": ["toy = toy_models:TOY"]})
    return folder


def test_the_table_has_every_model_in_a_line() -> None:
    output = CliRunner().invoke(app, ["models"]).output.splitlines()
    assert [line.split()[0] for line in output] == ["model", *zoo.known_models()]
    of_tiny = next(line for line in output if line.startswith("tlg-tiny"))
    assert "here" in of_tiny
    assert "8.4 MB" in of_tiny


def test_the_table_takes_less_than_a_second_of_processor_time() -> None:
    def taken() -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, "-m", "tlg", "models"], check=True, capture_output=True)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    # A busy machine only ever adds to it.
    assert min(taken() for _ in range(3)) < 1


def test_weights_that_are_not_cached_are_to_be_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    line = next(line for line in command.table() if line.startswith("tlg-resnet50"))
    assert "to be fetched" in line
    cache = tmp_path / "hub" / "checkpoints"
    cache.mkdir(parents=True)
    (cache / "resnet50-0676ba61.pth").touch()
    assert "here" in next(line for line in command.table() if line.startswith("tlg-resnet50"))


@pytest.mark.usefixtures("toy_model")
def test_another_package_adds_a_model() -> None:
    assert any(line.startswith("toy ") and line.endswith("toys") for line in command.table())
    assert zoo.load("toy").name == "toy"
    card = "\n".join(command.card("toy"))
    assert "# A toy" in card
    assert "licence   MIT" in card
    with pytest.raises(CheckpointError, match="did you mean 'toy'"):
        zoo.load("toyy")


def test_a_fetched_model_is_whole_and_answers_under_the_same_digest(toy_model: Path, tmp_path: Path) -> None:
    lines = list(command.fetch("toy", tmp_path / "stick"))
    target = tmp_path / "stick" / "toy"
    for digest, file in (line.split("  ") for line in lines):
        assert hashlib.sha256(Path(file).read_bytes()).hexdigest() == digest
    assert sorted(Path(line.split("  ")[1]).name for line in lines) == sorted(one.name for one in target.iterdir())
    (tmp_path / "published.safetensors").unlink()
    assert load_model(target).digest == zoo.digest_of(toy_model)
    with pytest.raises(CheckpointError, match="is there already"):
        list(command.fetch("toy", tmp_path / "stick"))


def test_a_packed_model_comes_out_as_it_went_in(toy_model: Path, tmp_path: Path) -> None:
    folder = zoo.known_models()["tlg-tiny"]
    packing.pack(folder, tmp_path / "one.zip")
    packing.pack(folder, tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    packing.unpack(tmp_path / "one.zip", tmp_path / "again")
    assert {one.name: one.read_bytes() for one in (tmp_path / "again").iterdir()} == {
        one.name: one.read_bytes() for one in folder.iterdir()
    }
    with pytest.raises(CheckpointError, match="is there already"):
        packing.unpack(tmp_path / "one.zip", tmp_path / "again")


def packed(file: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ({"../outside.md": b""}, "leads out of a folder"),
        ({"/tmp/outside.md": b""}, "leads out of a folder"),
        ({"deep/inside.md": b""}, "leads out of a folder"),
        ({"C:outside.md": b""}, "leads out of a folder"),
        ({".hidden.md": b""}, "leads out of a folder"),
        ({"run.py": b"print()"}, "does not list"),
        ({"long.md": b" " * (packing.LONGEST_TEXT + 1)}, "does not list"),
    ],
)
def test_a_file_that_holds_anything_else_leaves_nothing(
    toy_model: Path, tmp_path: Path, extra: dict[str, bytes], message: str
) -> None:
    members = {MODEL_FILE: (toy_model / MODEL_FILE).read_bytes(), **extra}
    before = sorted(tmp_path.rglob("*"))
    file = packed(tmp_path / "bad.zip", members)
    with pytest.raises(CheckpointError, match=message):
        packing.unpack(file, tmp_path / "folder")
    assert sorted(tmp_path.rglob("*")) == sorted([*before, file])


def test_listed_names_that_lead_out_of_the_folder_are_refused(toy_model: Path, tmp_path: Path) -> None:
    content = json.loads((toy_model / MODEL_FILE).read_text()) | {"files": {"../stolen.md": "0" * 64}}
    (toy_model / MODEL_FILE).write_text(json.dumps(content))
    with pytest.raises(CheckpointError, match="leads out of the folder"):
        packing.pack(toy_model, tmp_path / "out.zip")


def test_compressed_damaged_and_foreign_files_are_refused(toy_model: Path, tmp_path: Path) -> None:
    members = {MODEL_FILE: (toy_model / MODEL_FILE).read_bytes()}
    with pytest.raises(CheckpointError, match="compressed"):
        packing.unpack(packed(tmp_path / "a.zip", members, zipfile.ZIP_DEFLATED), tmp_path / "a")
    (tmp_path / "b.zip").write_bytes(b"not a zip")
    with pytest.raises(CheckpointError, match="not a packed model"):
        packing.unpack(tmp_path / "b.zip", tmp_path / "b")
    with pytest.raises(CheckpointError, match=f"holds no {MODEL_FILE}"):
        packing.unpack(packed(tmp_path / "c.zip", {"a.md": b""}), tmp_path / "c")
    whole = json.loads(members[MODEL_FILE]) | {"files": {"network.safetensors": "0" * 64}}
    swapped = {MODEL_FILE: json.dumps(whole).encode(), "network.safetensors": b"other"}
    with pytest.raises(CheckpointError, match=r"network\.safetensors is damaged"):
        packing.unpack(packed(tmp_path / "d.zip", swapped), tmp_path / "d")


@pytest.mark.usefixtures("toy_model")
def test_every_package_and_every_file_of_weights_states_a_licence() -> None:
    packages = package_licences()
    assert {"torch", "timm", "ray", "pydantic"} <= {name.split()[0] for name in packages}
    assert model_licences()["toy"] == "MIT"
    assert next(licence for name, licence in model_licences().items() if name.startswith("toy: tiny")) == "CC0-1.0"
    assert NOT_STATED not in model_licences().values()
