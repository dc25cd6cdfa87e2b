"""Batches that do not fit in memory, on the real annotator: only its backbone's memory is made small."""

import dataclasses
import sys

import pytest

from tests.annotators.sets import NAMES, exemplar_set, picture, scene
from tlg.annotators import network
from tlg.annotators.memory import annotate_within_memory
from tlg.annotators.network import NetworkModel
from tlg.errors import InputError
from tlg.hub import zoo

torch = pytest.importorskip("torch")
FULL = [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")]


class Tight(torch.nn.Module):
    """A backbone whose memory holds so many pictures at once."""

    def __init__(self, backbone, capacity, error):
        super().__init__()
        self.backbone, self.capacity, self.error, self.asked = backbone, capacity, error, []

    def forward(self, images):
        self.asked.append(len(images))
        if len(images) > self.capacity:
            raise self.error
        return self.backbone(images)


@pytest.fixture(scope="module")
def annotator():
    return NetworkModel(zoo.load("tlg-tiny")).with_exemplars(exemplar_set())


@pytest.fixture(autouse=True)
def whole_batches(monkeypatch):
    """As on a GPU: a CPU takes picture by picture."""
    monkeypatch.setattr(network, "PICTURES_AT_ONCE", {})


@pytest.fixture
def pictures():
    return [picture(scene([70, k], [NAMES[k % 2]], NAMES[k % 2])) for k in range(3)]


def tightened(annotator, monkeypatch, capacity, error):
    tight = Tight(annotator.model.backbone, capacity, error)
    monkeypatch.setattr(annotator, "model", dataclasses.replace(annotator.model, backbone=tight))
    return tight


@pytest.mark.parametrize("error", FULL)
def test_a_batch_that_does_not_fit_is_halved_and_answered_the_same(annotator, pictures, monkeypatch, error):
    whole = annotator.annotate(pictures)
    tight = tightened(annotator, monkeypatch, 1, error)
    assert annotate_within_memory(annotator, pictures) == whole
    assert tight.asked == [3, 1, 2, 1, 1]


def test_a_picture_that_never_fits_is_an_error_of_its_own(annotator, pictures, monkeypatch):
    tightened(annotator, monkeypatch, 0, MemoryError())
    found = annotate_within_memory(annotator, pictures[:2])
    assert [type(one) for one in found] == [InputError, InputError]
    assert {one.kind for one in found} == {"out_of_memory"}


def test_a_defect_is_not_taken_for_a_lack_of_memory(annotator, pictures, monkeypatch):
    tightened(annotator, monkeypatch, 0, RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape mismatch"):
        annotate_within_memory(annotator, pictures)


def test_nothing_of_the_failed_batch_is_held_when_memory_is_given_back(annotator, pictures, monkeypatch):
    """Inside the handler of an error its traceback keeps every tensor of the batch alive."""
    handled = []
    monkeypatch.setattr(annotator, "release_memory", lambda: handled.append(sys.exc_info()[1]))
    tightened(annotator, monkeypatch, 2, MemoryError())
    annotate_within_memory(annotator, pictures)
    assert handled == [None]
