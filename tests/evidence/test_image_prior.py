"""The whole prior on a random backbone: one call, cached exemplars, odd pictures, pseudo-masks on disk."""

import dataclasses
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from tlg.datasets.episodes import Photo
from tlg.errors import InputError, SpecError
from tlg.evaluation.looking import write_maps
from tlg.evidence import Prior
from tlg.evidence.fusion import TextPresence, fuse
from tlg.evidence.open_clip.clip import ClipPrior, ClipPriorSpec
from tlg.evidence.open_clip.image_prior import ImagePrior, TextSide
from tlg.exemplars import LoadedClass, LoadedExemplar, LoadedExemplars, load
from tlg.network.backbones.registry import build_backbone
from tlg.network.features import Features
from tlg.training.pseudo_masks import PseudoMasks, precompute

SIDE = 64


def picture(seed: int, height: int = 40, width: int = 60) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def exemplar_set(names=("fox", "hare"), digest="a") -> LoadedExemplars:
    classes = tuple(
        LoadedClass(name, index, None, (), (LoadedExemplar(f"{name}/1.jpg", picture(index)),))
        for index, name in enumerate(names, start=1)
    )
    return LoadedExemplars("set", classes, (LoadedExemplar("empty.jpg", picture(9)),), digest)


def tiny_backbone():
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build_backbone("tiny")


def text_side() -> TextSide:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text = {"context_length": 32, "vocab_size": 49408, "width": 8, "heads": 1, "layers": 1}
        vision = {"image_size": 32, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8}
        model = open_clip.CLIP(embed_dim=8, vision_cfg=vision, text_cfg=text).eval()
    tokenize = open_clip.SimpleTokenizer()
    prior = ClipPrior.of(model, ClipPriorSpec(background=("ground", "sky"), affinity_blocks=1))
    return TextSide(prior, model, tokenize, 32, 32)


@pytest.fixture(scope="module")
def image_prior() -> ImagePrior:
    return ImagePrior(tiny_backbone(), SIDE)


@pytest.mark.parametrize("with_text", [False, True])
def test_maps_and_presence_of_a_batch(with_text):
    prior = ImagePrior(tiny_backbone(), SIDE, text=text_side() if with_text else None)
    images = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    maps, presence = prior(images, exemplar_set())
    assert maps.shape == (2, 2, SIDE, SIDE)
    assert presence.shape == (2, 2)
    for values in (maps, presence):
        assert 0 <= float(values.min()) <= float(values.max()) <= 1
        assert not values.requires_grad
    alone, _ = prior(images[:1], exemplar_set())
    torch.testing.assert_close(maps[:1], alone, atol=1e-4, rtol=0)


@pytest.mark.parametrize("size", [(1, 1), (20000, 10), (3, 700)])
def test_odd_pictures_give_maps_of_their_own_size(image_prior, size):
    (maps,), presence = image_prior.of_pictures([picture(5, *size)], exemplar_set())
    assert maps.shape == (2, *size)
    assert np.isfinite(maps).all()
    assert np.isfinite(presence).all()


def test_an_exemplar_set_is_fitted_once_per_digest():
    prior = ImagePrior(tiny_backbone(), SIDE)
    first = prior.fit(exemplar_set(digest="a"))
    assert prior.fit(exemplar_set(digest="a")) is first
    assert prior.fit(exemplar_set(digest="b")) is not first


def test_bad_exemplar_sets_are_errors_that_name_class_and_file(image_prior):
    good = exemplar_set()
    empty = dataclasses.replace(good, classes=(), digest="empty")
    with pytest.raises(SpecError, match="no classes"):
        image_prior.fit(empty)
    bare = dataclasses.replace(good, classes=(dataclasses.replace(good.classes[0], exemplars=()),), digest="bare")
    with pytest.raises(SpecError, match="class 'fox' has no exemplar"):
        image_prior.fit(bare)
    with pytest.raises(SpecError, match="two classes are named 'Fox'"):
        image_prior.fit(exemplar_set(("fox", "Fox"), "twice"))
    wrong = LoadedExemplar("fox/2.jpg", picture(3), np.zeros((2, 2), dtype=bool))
    sized = dataclasses.replace(good, classes=(dataclasses.replace(good.classes[0], exemplars=(wrong,)),), digest="x")
    with pytest.raises(SpecError, match=r"class 'fox': the mask of fox/2\.jpg is 2x2, the image is 60x40"):
        image_prior.fit(sized)


def test_a_name_beyond_the_tokenizers_limit_is_an_error():
    prior = ImagePrior(tiny_backbone(), SIDE, text=text_side())
    with pytest.raises(SpecError, match=r"class 'fox fox.*CLIP reads at most 32"):
        prior.fit(exemplar_set(("fox " * 40 + "fox",), "long"))


def test_fusing_without_text_changes_nothing_and_agreement_is_kept():
    maps = torch.rand(1, 2, 3, 3, generator=torch.Generator().manual_seed(0)) * 0.9 + 0.05
    assert fuse(maps, None) is maps
    torch.testing.assert_close(fuse(maps, maps), maps)


def test_text_presence_lies_between_pictures_with_and_without_the_class():
    evidence = torch.tensor([[3.0, -1.0], [-2.0, -1.0], [-3.0, -1.0]])
    fitted = TextPresence.fit(evidence, [0, 1, None])
    probability = fitted.probability(evidence)
    assert float(probability[0, 0]) > 0.5 > float(probability[1:, 0].max())
    # The second class's text tells its exemplar from nothing: the default stays.
    assert float(fitted.threshold[1]) == 0


def test_maps_and_overlays_are_written(tmp_path, image_prior):
    Image.fromarray(picture(4)).save(tmp_path / "one.png")

    def look(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (maps,), presence = image_prior.of_pictures([pixels], exemplar_set())
        return maps, presence[0]

    written = write_maps([str(tmp_path / "one.png")], ("fox", "hare"), look, tmp_path / "out")
    assert [(row[1], row[3].name) for row in written] == [("fox", "one--fox.map.png"), ("hare", "one--hare.map.png")]
    assert Image.open(tmp_path / "out" / "one--fox.overlay.png").size == (60, 40)


def odd_file(kind: str, path: Path) -> Path:
    """A picture of 60 x 40 as a person sees it."""
    image, options = Image.fromarray(picture(4)), {}
    if kind == "16-bit":
        image = Image.fromarray(np.random.default_rng(4).integers(0, 2**16, (40, 60), dtype=np.uint16))
    elif kind == "EXIF-rotated":
        image, exif = image.transpose(Image.Transpose.ROTATE_90), Image.Exif()
        exif[0x0112] = 6
        options = {"exif": exif}
    else:
        image = image.convert(kind)
    file = path / ("odd.png" if kind in ("RGBA", "16-bit") else "odd.jpg")
    image.save(file, **options)
    return file


@pytest.mark.parametrize("kind", ["L", "RGBA", "CMYK", "16-bit", "EXIF-rotated"])
def test_odd_files_give_maps_of_the_pictures_own_size(tmp_path, image_prior, kind):
    def look(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        (maps,), presence = image_prior.of_pictures([pixels], exemplar_set())
        return maps, presence[0]

    file = odd_file(kind, tmp_path)
    for *_, path in write_maps([str(file)], ("fox", "hare"), look, tmp_path / "out"):
        assert Image.open(path).size == (60, 40)


@pytest.mark.parametrize("damage", ["missing", "no image"])
def test_an_exemplar_that_cannot_be_read_is_named_with_its_class(tmp_path, damage):
    file = tmp_path / "fox.jpg"
    if damage == "no image":
        file.write_bytes(b"these bytes are no image")
    (tmp_path / "set.yaml").write_text("name: set\nclasses: [{name: fox, exemplars: [fox.jpg]}]")
    with pytest.raises(SpecError, match=r"class 'fox': exemplar \S+fox\.jpg cannot be used"):
        load(str(tmp_path / "set.yaml"))


@pytest.mark.parametrize("layout", ["per_class", "per_image"])
def test_pseudo_masks_read_back_what_was_written(tmp_path, layout):
    masks = {1: np.eye(4, dtype=bool), 3: np.eye(4, dtype=bool)[::-1]}
    folder = PseudoMasks(tmp_path, layout)
    folder.write("img", masks, {1: "fox", 3: "owl"})
    assert np.array_equal(folder.read("img", 3, "owl"), masks[3])
    name = "img--owl.png" if layout == "per_class" else "img.png"
    assert set(np.unique(np.asarray(Image.open(tmp_path / name)))) >= {0, 3}
    with pytest.raises(InputError, match="tlg prior --dataset"):
        folder.read("other", 1, "fox")


def test_a_published_file_named_by_position_is_read(tmp_path):
    Image.fromarray(np.full((2, 2), 3, dtype=np.uint8)).save(tmp_path / "img--2.png")
    assert PseudoMasks(tmp_path, "per_class").read("img", 3, "owl").all()


def test_a_training_set_gets_a_mask_for_every_image_and_class(tmp_path):
    photos = []
    for index, classes in enumerate([{0, 1}, {1, 2}, {2}, set()]):
        path = tmp_path / f"{index}.png"
        Image.fromarray(picture(index, 30 + index, 40)).save(path)
        photos.append(Photo(str(index), path, frozenset(classes)))

    class Pictures:
        class_names = {0: "background", 1: "fox", 2: "owl"}  # noqa: RUF012

        def label_map(self, photo):
            raise AssertionError("no label map may be opened")

    backbone = tiny_backbone()
    out = PseudoMasks(tmp_path / "masks", "per_class")
    written = precompute(
        Pictures(), photos, lambda images: Features(backbone(images), (SIDE, SIDE)), SIDE, Prior(), out, shots=1
    )
    assert written == 4
    assert sorted(path.name for path in out.folder.iterdir()) == [
        "0--fox.png", "1--fox.png", "1--owl.png", "2--owl.png",
    ]  # fmt: skip
    assert out.read("2", 2, "owl").shape == (32, 40)
