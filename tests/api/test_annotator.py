"""From Python: images of every kind in, masks out; a whole collection and its answers."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tlg
from tlg import world
from tlg.annotators.protocol import AnnotateParams
from tlg.annotators.registry import load_annotator
from tlg.pictures import Picture

NAMES = ("mug", "truck")


def scene(seed: int, shown: str) -> np.ndarray:
    return world.scene(np.random.default_rng(seed), 192, [shown], shown).image


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """exemplars/<class>/*.png, exemplars/_negatives/*.png, images/*.png"""
    base = tmp_path_factory.mktemp("api")
    for place, seed, shown in (
        *((f"exemplars/{name}/{k}.png", 10 * number + k, name) for number, name in enumerate(NAMES) for k in range(2)),
        *((f"exemplars/_negatives/{k}.png", 90 + k, "leaf") for k in range(2)),
        *((f"images/{name}.png", 200 + number, name) for number, name in enumerate(NAMES)),
    ):
        (base / place).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(scene(seed, shown)).save(base / place)
    return base


@pytest.fixture(scope="module")
def rehearsal(folders: Path) -> tlg.Annotator:
    return tlg.load_model("dry-run").with_exemplars(folders / "exemplars")


def test_paths_bytes_arrays_and_pillow_images_are_answered_alike(folders: Path, rehearsal: tlg.Annotator) -> None:
    path = folders / "images/mug.png"
    pillow = Image.open(path)
    forms = [path, str(path), path.as_uri(), path.read_bytes(), np.asarray(pillow), pillow]
    first, *others = rehearsal.annotate(forms, batch_size=4)
    assert first["mug"].status == "mask"
    assert all(other.answers == first.answers for other in others)


def test_the_answers_are_those_of_the_annotator_that_jobs_use(folders: Path) -> None:
    exemplars = tlg.ExemplarSet.from_folder(folders / "exemplars")
    public = tlg.load_model("tlg-tiny", device="cpu").with_exemplars(exemplars, min_score=0.3)
    pixels = scene(200, "mug")
    inner = load_annotator("tlg-tiny", exemplars.loaded, AnnotateParams(min_score=0.3), "cpu")
    assert list(public.annotate([pixels])[0]) == inner.annotate([Picture(pixels, *pixels.shape[:2])])[0]


def test_masks_have_the_size_of_the_image_and_absent_classes_an_empty_one(rehearsal: tlg.Annotator) -> None:
    (image,) = rehearsal.annotate([np.tile(np.arange(40, dtype=np.uint8), (30, 1))])
    mug, truck = image
    assert (mug.status, truck.status) == ("mask", "absent")
    assert mug.mask.shape == truck.mask.shape == (30, 40)
    assert mug.mask.sum() == mug.area > 0
    assert not truck.mask.any()
    assert image.present == (mug,)


def test_a_broken_image_is_an_answer_and_the_others_are_answered(folders: Path, rehearsal: tlg.Annotator) -> None:
    good = folders / "images/mug.png"
    broken, missing, whole = rehearsal.annotate([b"not an image", folders / "nowhere.png", good])
    assert isinstance(broken.error, tlg.InputError)
    assert isinstance(missing.error, tlg.StorageError)
    assert len(broken) == len(missing) == 0
    assert len(whole) == 2
    with pytest.raises(tlg.InputError):
        broken.overlay()


def test_one_image_in_place_of_a_list_and_floating_point_pixels_are_programmers_errors(
    folders: Path, rehearsal: tlg.Annotator
) -> None:
    with pytest.raises(TypeError, match="expected a list"):
        rehearsal.annotate(str(folders / "images/mug.png"))
    with pytest.raises(TypeError, match="float64"):
        rehearsal.annotate([np.zeros((4, 4, 3))])


def test_classes_can_be_chosen_and_unknown_ones_are_named(rehearsal: tlg.Annotator) -> None:
    (image,) = rehearsal.annotate([scene(1, "mug")], classes=["truck"])
    assert [answer.class_name for answer in image] == ["truck"]
    with pytest.raises(tlg.SpecError, match=r"'lorry'.*mug, truck"):
        rehearsal.annotate([scene(1, "mug")], classes=["lorry"])
    with pytest.raises(KeyError, match="mug"):
        image["mug"]


def test_an_annotated_image_is_drawn_in_a_notebook(folders: Path, rehearsal: tlg.Annotator) -> None:
    (image,) = rehearsal.annotate([folders / "images/mug.png"])
    shown = image._repr_png_()
    assert shown is not None
    assert Image.open(io.BytesIO(shown)).size == image.overlay().size == (192, 192)
    assert repr(image).startswith(str(folders / "images/mug.png"))
    assert repr(image).endswith("mug 1.00, truck absent")


def test_an_exemplar_set_says_what_it_holds(folders: Path) -> None:
    exemplars = tlg.ExemplarSet.from_folder(folders / "exemplars")
    assert exemplars.class_names == NAMES
    assert repr(exemplars) == "ExemplarSet exemplars: mug (2), truck (2); 2 negatives"
    assert exemplars._repr_html_().count("<img ") == 6


def test_a_document_is_the_same_set_as_its_folder(folders: Path) -> None:
    document = folders / "set.yaml"
    lines = [f"  - {{name: {name}, exemplars: [exemplars/{name}/0.png, exemplars/{name}/1.png]}}" for name in NAMES]
    negatives = "negatives: [exemplars/_negatives/0.png, exemplars/_negatives/1.png]"
    document.write_text("\n".join(["name: exemplars", "classes:", *lines, negatives]))
    written, folder = tlg.ExemplarSet.from_file(document), tlg.ExemplarSet.from_folder(folders / "exemplars")
    assert written.digest == folder.digest
    with pytest.raises(tlg.SpecError, match="from_folder"):
        tlg.ExemplarSet.from_file(folders / "exemplars")
    with pytest.raises(tlg.SpecError, match="not a folder"):
        tlg.ExemplarSet.from_folder(document)


@pytest.mark.cluster
def test_a_collection_is_annotated_and_its_answers_read(local_ray: None, folders: Path, tmp_path: Path) -> None:
    (folders / "images/broken.png").write_bytes(b"not an image")
    exemplars = tlg.ExemplarSet.from_folder(folders / "exemplars")
    settings = {"run.max_error_rate": 1.0, "output.formats": ["parquet"]}
    run = tlg.annotate(folders / "images", exemplars, tmp_path / "out", model="dry-run", settings=settings)
    assert (run.images, run.masks, run.errors) == (3, 2, 1)
    answers = tlg.read_answers(tmp_path / "out")
    images = {Path(str(image.image)).stem: image for image in answers}
    assert sorted(images) == ["broken", "mug", "truck"]
    assert isinstance(images["broken"].error, tlg.InputError)
    (asked,) = tlg.load_model("dry-run").with_exemplars(exemplars).annotate([folders / "images/mug.png"])
    assert images["mug"].answers == asked.answers
    assert answers.table(["status"]).num_rows == 5
    again = tlg.annotate(folders / "images", exemplars, tmp_path / "out", model="dry-run", settings=settings)
    assert again.images == 0


def test_an_output_without_answers_says_so(tmp_path: Path) -> None:
    with pytest.raises(tlg.StorageError, match="no committed answers"):
        tlg.read_answers(tmp_path)


@pytest.mark.cluster
def test_the_model_is_a_stage_of_ones_own_pipeline(local_ray: None, folders: Path) -> None:
    import ray.data

    import tlg.ray

    paths = [str(folders / f"images/{name}.png") for name in NAMES]
    images = ray.data.read_images(paths, include_paths=True, mode="RGB")
    stage = tlg.ray.segmenter("dry-run", folders / "exemplars")
    rows = images.map_batches(stage, batch_size=2, concurrency=1).take_all()
    found = {(Path(row["image_uri"]).stem, row["class_name"]): row["status"] for row in rows}
    assert found == {(name, asked): "mask" if asked == "mug" else "absent" for name in NAMES for asked in NAMES}


def test_a_stage_takes_files_bytes_and_makes_a_row_of_a_broken_one(folders: Path) -> None:
    import tlg.ray

    stage = tlg.ray.segmenter("dry-run", folders / "exemplars")()
    contents = np.array([(folders / "images/mug.png").read_bytes(), b"not an image"], object)
    rows = stage({"bytes": contents, "path": np.array(["mug.png", "broken.png"])}).to_pylist()
    assert [(row["image_uri"], row["status"]) for row in rows] == [
        ("mug.png", "mask"),
        ("mug.png", "absent"),
        ("broken.png", "error"),
    ]
    with pytest.raises(tlg.SpecError, match="read_images"):
        stage({"pixels": contents})
