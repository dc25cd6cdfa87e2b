"""The demo's files are a job that anyone can open, edit and run again."""

import numpy as np
import pytest
from PIL import Image

from jobs.commands import demo
from tlg import exemplars, pictures, world
from tlg.errors import InputError, SpecError
from tlg.spec import load_annotate_spec


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return demo.write_demo(tmp_path_factory.mktemp("parent") / "demo", seed=3, model="tlg-tiny")


def test_spec_and_exemplars_read_as_a_user_s_own(files):
    spec = load_annotate_spec(str(files.spec))
    assert spec.images.uri == str(files.images)
    loaded = exemplars.load(spec.exemplars)
    assert len(loaded.classes) == demo.CLASS_COUNT
    assert set(loaded.class_names) <= set(world.NOVEL)
    assert len(loaded.negatives) == demo.NEGATIVES


def test_broken_files_are_broken_and_the_others_are_not(files):
    for path in files.images.iterdir():
        if path.name.startswith("broken"):
            with pytest.raises(InputError):
                pictures.decode(path.read_bytes())
        else:
            truth = np.asarray(Image.open(files.truth / f"{path.stem}.png"))
            assert pictures.decode(path.read_bytes()).pixels.shape[:2] == truth.shape


def test_some_pictures_show_none_of_the_classes(files):
    empty = [path for path in files.truth.iterdir() if not np.asarray(Image.open(path)).any()]
    assert len(empty) >= demo.IMAGES_WITH_NONE


def test_the_way_to_one_s_own_photographs_is_told(files):
    first, command, *_ = demo.next_steps(files).splitlines()
    assert "photographs are answered by tlg-photo" in first
    assert command.split()[:2] == ["tlg", "annotate"]


def test_no_answers_measure_nothing(files):
    assert demo.measure(files, []) == 0


def test_a_folder_with_other_things_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(SpecError, match="not empty and not a demo"):
        demo.write_demo(tmp_path, seed=1, model="tlg-tiny")
    assert (tmp_path / "mine.txt").read_text() == "precious"
