"""`tlg prior --dataset`: pseudo-masks of a training config's base photographs, and how training reads them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from PIL import Image
from typer.testing import CliRunner

from tlg.cli import app
from tlg.datasets.episodes import Photo
from tlg.datasets.folder import IndexMapFolder, PairFolder
from tlg.datasets.sources import IndexMapSource
from tlg.errors import SpecError, TlgError
from tlg.evidence import Prior
from tlg.training.batches.collage import Cut
from tlg.training.batches.pool import MIRRORED, PLAIN, Pool, Views
from tlg.training.batches.pseudo_mask_views import PseudoMaskViews
from tlg.training.pseudo_masks import PseudoMasks, PseudoMaskSpec, precompute

NAMES = {"1": "cow", "2": "bird", "3": "boat", "255": "void"}
SIDE = 64


def save_scene(root: Path, name: str, class_id: int, rng: np.random.Generator) -> None:
    image, label = rng.integers(60, 120, (30, 44, 3)).astype(np.uint8), np.zeros((30, 44), np.uint8)
    label[4:24, 10:30] = class_id
    image[label == class_id] = (40 * class_id, 200 - 30 * class_id, 90)
    Image.fromarray(image).save(root / "images" / f"{name}.jpg")
    Image.fromarray(label).save(root / "labels" / f"{name}.png")


@pytest.fixture(scope="module")
def squares(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three photographs of each of three classes; folds "0" and "1" with one novel class each; and a group of pairs."""
    root, rng = tmp_path_factory.mktemp("squares"), np.random.default_rng(0)
    for folder in ("images", "labels", "pairs/003_red_fox"):
        (root / folder).mkdir(parents=True)
    (root / "classes.json").write_text(json.dumps(NAMES))
    for class_id in (1, 2, 3):
        for number in range(3):
            save_scene(root, f"{class_id}_{number}", class_id, rng)
    folds = {
        str(fold): {
            "novel_classes": [fold + 1],
            "1_shot": [{"class": fold + 1, "query": f"{fold + 1}_0", "support": [f"{fold + 1}_1"]}],
        }
        for fold in (0, 1)
    }
    (root / "episodes.json").write_text(json.dumps({"folds": folds}))
    for number in range(2):
        Image.open(root / "images" / f"3_{number}.jpg").save(root / "pairs" / "003_red_fox" / f"{number}.jpg")
        Image.open(root / "labels" / f"3_{number}.png").save(root / "pairs" / "003_red_fox" / f"{number}.png")
    return root


@pytest.fixture
def config(squares: Path, tmp_path: Path) -> Path:
    content = {
        "name": "squares",
        "out": str(tmp_path / "run{fold}"),
        "data": {
            "benchmark": {"kind": "index_maps", "root": str(squares), "episodes": str(squares / "episodes.json")},
            "more": [{"kind": "pairs", "root": str(squares / "pairs")}],
        },
        "network": {"backbone": "tiny", "text": False},
        "backbone_weights": None,
        "input_size": SIDE,
        "device": "cpu",
    }
    (tmp_path / "train.yaml").write_text(yaml.safe_dump(content))
    return tmp_path / "train.yaml"


def tlg_prior(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["prior", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["prior", *map(str, arguments)])
    assert isinstance(result.exception, TlgError), result.output
    return str(result.exception)


@pytest.mark.parametrize("layout", ["per_class", "per_image"])
def test_every_base_photograph_gets_its_masks_and_no_novel_one(
    config: Path, squares: Path, tmp_path: Path, layout: str
):
    folder = tmp_path / "masks" / "{fold}" / "{collection}"
    arguments = ["--dataset", config, "--out", folder, "--layout", layout, "--set", "data.fold=all"]
    output = tlg_prior(*arguments)
    assert "fold 0, pairs: 2 pseudo-masks of 2 photographs" in output
    source = IndexMapSource(kind="index_maps", root=squares, episodes=squares / "episodes.json")
    for fold in ("0", "1"):
        collection, photos = source.base(fold)
        masks = PseudoMaskSpec(folder=str(folder), layout=layout).of(fold, collection.name)
        for photo in photos:
            (class_id,) = photo.classes
            assert masks.read(photo.id, class_id, collection.class_names[class_id]).shape == (30, 44)
        assert len(list(masks.folder.glob("*.png"))) == len(photos) == 6


def test_a_killed_run_goes_on_and_gives_the_same_masks(config: Path, tmp_path: Path):
    folder = tmp_path / "masks" / "{collection}"
    tlg_prior("--dataset", config, "--out", folder)
    files = sorted((tmp_path / "masks").rglob("*.png"))
    first = {file: file.read_bytes() for file in files}
    for file in files[::2]:
        file.unlink()
    output = tlg_prior("--dataset", config, "--out", folder)
    assert {file: file.read_bytes() for file in files} == first
    assert sum(int(line.split(": ")[1].split()[0]) for line in output.splitlines()) == len(files[::2])


def test_masks_made_otherwise_are_never_mixed_or_overwritten(config: Path, tmp_path: Path):
    folder = tmp_path / "masks" / "{collection}"
    tlg_prior("--dataset", config, "--out", folder)
    message = refusal("--dataset", config, "--out", folder, "--set", "seed=1")
    assert "made with another" in message
    assert "seed" in message
    published = tmp_path / "published"
    published.mkdir()
    Image.new("L", (4, 4)).save(published / "img--cow.png")
    single = ["--dataset", config, "--set", "data.more=[]"]
    assert "holds PNGs that were not made here" in refusal(*single, "--out", published)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["data.benchmark.root=nowhere"], "nowhere"),
        (["data.fold=7"], "no fold '7'"),
        (["input_sise=64"], "unknown key 'input_sise' (did you mean 'input_size'?)"),
        (["data.more=[]", "data.fold=all"], "pseudo-masks of 0, 1 would share one folder; put {fold} in the path"),
        ([], "would share one folder; put {collection} in the path"),
        (["backbone_weights=nowhere.pth"], "nowhere.pth"),
    ],
)
def test_a_bad_config_is_an_error_that_says_where(config: Path, tmp_path: Path, overrides: list[str], message: str):
    changes = [part for one in overrides for part in ("--set", one)]
    assert message in refusal("--dataset", config, "--out", tmp_path / "masks", *changes)


def test_a_config_that_is_not_there_or_no_config_is_refused(tmp_path: Path):
    assert "train.yaml" in refusal("--dataset", tmp_path / "train.yaml", "--out", tmp_path)
    (tmp_path / "list.yaml").write_text("- a\n- b")
    assert "expected keys and values" in refusal("--dataset", tmp_path / "list.yaml", "--out", tmp_path)


def test_class_ids_beyond_a_png_are_refused_before_anything_is_computed(squares: Path, tmp_path: Path):
    class Many:
        name, class_names, photos = "many", {300: "late"}, ()

        def label_map(self, photo: Photo) -> np.ndarray:
            raise AssertionError("no label map may be opened")

    photo = Photo("1", squares / "images" / "1_0.jpg", frozenset({300}))

    def encode(images):
        raise AssertionError("nothing may be encoded")

    with pytest.raises(SpecError, match="class id 300 does not fit"):
        precompute(Many(), [photo], encode, SIDE, Prior(), PseudoMasks(tmp_path, "per_class"))


@pytest.fixture
def true_masks(squares: Path, tmp_path: Path) -> tuple[Pool, PseudoMaskSpec]:
    """Pseudo-masks that equal the label maps, so that whatever happens to a label map has to happen to them."""
    spec = PseudoMaskSpec(folder=str(tmp_path / "{fold}" / "{collection}"))
    collections = [IndexMapFolder(squares), PairFolder(squares / "pairs")]
    for collection in collections:
        for photo in collection.photos:
            masks = {one: collection.label_map(photo) == one for one in photo.classes}
            spec.of("0", collection.name).write(photo.id, masks, collection.class_names)
    return Pool([(collection, collection.photos) for collection in collections]), spec


@pytest.mark.parametrize("variant", [PLAIN, MIRRORED, 2, 3])
def test_a_views_pseudo_mask_moves_with_its_picture(true_masks, variant: int):
    pool, spec = true_masks
    views = PseudoMaskViews(pool, SIDE, 0, spec, "0")
    labels = Views(pool, SIDE, 0)
    for class_id, shown in pool.classes.items():
        position = shown.photos[0]
        mask_HW = views.mask((position, variant), class_id)
        label_hw = (labels.label(position, variant) == class_id).float()
        assert mask_HW.shape == (SIDE, SIDE)
        assert label_hw.any()
        halved = F.avg_pool2d(mask_HW[None], 2)[0]
        assert float((halved - label_hw).abs().mean()) < 0.03
        assert not views.mask((pool.classes[class_id % len(pool.classes) + 1].photos[0], variant), class_id).any()


def test_collages_of_queries_are_made_of_their_pseudo_masks_too(true_masks):
    pool, spec = true_masks
    views = PseudoMaskViews(pool, SIDE, 0, spec, "0")
    first, second = (pool.classes[one].photos for one in (1, 2))
    queries = [(first[0], PLAIN), (second[0], PLAIN)]
    cuts = [Cut(0, 1, along_width=True, before=False, share=0.5)]
    query_BHW, support_BSHW = views.of_episodes([1, 2], queries, [(first[1], MIRRORED), (second[1], PLAIN)], cuts)
    assert support_BSHW.shape == (2, 1, SIDE, SIDE)
    assert torch.equal(query_BHW[0, :, : SIDE // 2], views.mask(queries[0], 1)[:, : SIDE // 2])
    assert not query_BHW[0, :, SIDE // 2 :].any()  # the other photograph shows no class 1
    assert torch.equal(query_BHW[1], views.mask(queries[1], 2))
    assert torch.equal(support_BSHW[0, 0], views.mask((first[1], MIRRORED), 1))


def test_training_reads_what_was_made(config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from tlg.training import trainer as training

    folder = str(tmp_path / "masks" / "{collection}")
    tlg_prior("--dataset", config, "--out", folder)

    def on_the_fly(*args: object) -> None:
        raise AssertionError("pseudo-masks are to be read")

    monkeypatch.setattr(training, "episode_priors", on_the_fly)
    small = ["optim.epochs=1", "optim.steps_per_epoch=1", "optim.batch_size=2", "validation.episodes=2"]
    more = ["data.held_out=0.4", "data.collage_share=1", "data.augment=true", f"pseudo_masks.folder={folder}"]
    (best,) = training.train(config, [*small, *more])
    assert best.is_dir()
