"""Answers go back to a CVAT task: a page at a time, each once, and never over what people have drawn."""

import numpy as np
import pytest

from deploy.connectors import cvat_shapes, push
from jobs.annotate import annotate
from tests.jobs import collection
from tests.servers.cvat import TOKEN, Cvat, serving
from tlg.answers import records
from tlg.errors import SpecError, StorageError

PICTURES = 5


@pytest.fixture(scope="module")
def answered(exemplar_folder, tmp_path_factory):
    """A task, and the output of a job whose collection it is."""
    output = str(tmp_path_factory.mktemp("pushed") / "out")
    pictures = {f"{number}.png": collection.picture(number) for number in range(PICTURES)}
    with pytest.MonkeyPatch.context() as patch, serving(Cvat(pictures, {})) as cvat:
        patch.setenv("CVAT_ACCESS_TOKEN", TOKEN)
        # Workers of a Ray that other tests left running have no token.
        patch.setattr("jobs.flow.execution._ray_runs", lambda: False)
        images = {"cvat": {"url": cvat.url, "task": 7}}
        assert annotate(collection.spec("", exemplar_folder, output, images=images)).done == PICTURES
        yield cvat, output


@pytest.fixture
def output(answered):
    return answered[1]


@pytest.fixture
def task(answered):
    cvat, _ = answered
    cvat.labels, cvat.shapes = {"fox": "mask", "hare": "mask"}, []
    return cvat


def test_what_was_pushed_is_not_pushed_again_however_often_the_command_is_stopped(task, output, monkeypatch):
    monkeypatch.setattr(push, "IMAGES_PER_PAGE", 2)
    lines = push.push(output)
    assert next(lines) == f"{task.uri}: looking at what is there"
    assert next(lines) == "2 predictions pushed, 0 were there"
    lines.close()  # stopped between two pages
    assert list(push.push(output))[-1] == "3 predictions pushed, 2 were there"
    once = list(task.shapes)
    assert list(push.push(output))[-1] == f"0 predictions pushed, {PICTURES} were there"
    assert task.shapes == once
    assert {shape["frame"] for shape in task.shapes} == set(range(PICTURES))


def test_a_frame_that_somebody_drew_on_is_left_alone(task, output):
    task.shapes = [{"id": 1, "type": "points", "frame": 3, "label_id": 50, "points": [1.0, 2.0], "source": "manual"}]
    assert list(push.push(output))[-1] == "4 predictions pushed, 1 were there"
    assert [shape["type"] for shape in task.shapes if shape["frame"] == 3] == ["points"]


def test_masks_arrive_as_they_were_answered(task, output):
    list(push.push(output))
    rows = collection.answers(output).to_pylist()
    row = next(row for row in rows if row["class_name"] == "fox" and row["image_uri"].endswith("/frames/2/2.png"))
    (shape,) = [shape for shape in task.shapes if (shape["frame"], shape["label_id"]) == (2, 50)]
    *runs, left, top, right, bottom = shape["points"]
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(bottom - top + 1, right - left + 1)
    mask = records.decode_mask(row["rle"]).astype(bool)
    np.testing.assert_array_equal(inside, mask[top : bottom + 1, left : right + 1])
    assert inside.sum() == mask.sum()
    assert (shape["source"], shape["score"]) == ("auto", row["score"])


@pytest.mark.parametrize("kind", ["any", "mask", "polygon", "rectangle"])
def test_a_label_gets_what_it_takes(task, output, kind):
    task.labels["fox"] = kind
    list(push.push(output))
    assert {shape["type"] for shape in task.shapes} == {"mask" if kind == "any" else kind}
    assert all(0 <= side <= 40 * 40 for shape in task.shapes for side in shape["points"])


def test_a_class_without_a_label_is_told(task, output):
    task.labels = {"fox": "tag", "wolf": "mask"}
    assert list(push.push(output))[1:] == [
        f"0 predictions pushed, 0 were there, {PICTURES} images have nothing to push",
        "left out, since the task has no label of that name: fox",
    ]


def test_a_task_without_labels_for_masks_is_refused(task, output):
    task.labels = {"fox": "tag"}
    with pytest.raises(SpecError, match="its labels take no masks, outlines or boxes; add labels of the type any"):
        list(push.push(output))


def test_all_labels_are_seen(task, output, monkeypatch):
    monkeypatch.setattr("deploy.connectors.cvat_push.LABELS_PER_PAGE", 1)
    assert list(push.push(output))[-1] == f"{PICTURES} predictions pushed, 0 were there"


def test_places_that_take_no_predictions_say_what_is_expected(output, tmp_path):
    with pytest.raises(SpecError, match=r"takes no predictions; expected label-studio\+http"):
        list(push.push(output, "s3://bucket/tasks"))
    with pytest.raises(StorageError, match="no committed answers here"):
        list(push.push(str(tmp_path / "nothing")))


@pytest.mark.parametrize("marked", [[(0, 0)], [(0, 0), (0, 1), (2, 3)], [(1, 1), (1, 2), (2, 2)]])
def test_runs_begin_with_what_is_not_marked(marked):
    mask = np.zeros((3, 4), bool)
    mask[tuple(np.array(marked).T)] = True
    *runs, left, top, right, bottom = cvat_shapes.mask_points(mask)
    inside = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(bottom - top + 1, right - left + 1)
    full = np.zeros_like(mask)
    full[top : bottom + 1, left : right + 1] = inside
    np.testing.assert_array_equal(full, mask)
