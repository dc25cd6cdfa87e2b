"""Exemplar sets from files and folders, and errors that name class and file."""

import hashlib

import numpy as np
import pytest
from PIL import Image

from tlg import exemplars
from tlg.errors import SpecError


def picture(path, size=(8, 6), value=100):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size[1], size[0], 3), value, np.uint8)).save(path)


def test_folder_and_file_with_the_same_content_have_the_same_digest(tmp_path):
    picture(tmp_path / "set" / "red fox" / "1.png")
    picture(tmp_path / "set" / "_negatives" / "n.png", value=3)
    (tmp_path / "set.yaml").write_text(
        "name: set\nclasses: [{name: red fox, exemplars: ['set/red fox/1.png']}]\nnegatives: [set/_negatives/n.png]\n"
    )
    folder, file = exemplars.load(str(tmp_path / "set")), exemplars.load(str(tmp_path / "set.yaml"))
    assert folder.class_names == ("red fox",)
    assert len(folder.negatives) == 1
    assert folder.digest == file.digest


def fed(*records):
    digest = hashlib.blake2b()
    for record in records:
        exemplars._feed(digest, *record)
    return digest.hexdigest()


def test_different_inputs_never_feed_the_same_bytes():
    """Lengths count bytes, not letters, and records say how many parts they have."""
    assert fed(["class", "a", "b"]) != fed(["class", "a"], ["b"])
    assert fed(["é", "x"]) != fed(["éx"])
    assert len({fed(["a", "b"]), fed(["ab"]), fed(["a"], ["b"]), fed(["", "ab"]), fed(["ab", ""])}) == 5


def test_a_context_is_not_taken_for_an_exemplar(tmp_path):
    picture(tmp_path / "1.png")
    digests = set()
    for context in ("[]", "[image]", "[image, '']"):
        (tmp_path / "s.yaml").write_text(f"name: s\nclasses: [{{name: fox, context: {context}, exemplars: [1.png]}}]\n")
        digests.add(exemplars.load(str(tmp_path / "s.yaml")).digest)
    assert len(digests) == 3


def test_mask_of_another_size_names_both_files(tmp_path):
    picture(tmp_path / "1.png")
    picture(tmp_path / "m.png", size=(5, 5))
    (tmp_path / "s.yaml").write_text("name: s\nclasses: [{name: fox, exemplars: [{image: 1.png, mask: m.png}]}]\n")
    with pytest.raises(SpecError, match=r"class 'fox': mask .*m.png is 5x5, its image .*1.png is 8x6"):
        exemplars.load(str(tmp_path / "s.yaml"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: s\nclasses: []\n", "classes"),
        ("name: s\nclasses: [{name: fox, exemplars: []}]\n", "exemplars"),
        ("name: s\nclasses: [{name: ' ', exemplars: [a.png]}]\n", "a class needs a name"),
        ("name: s\nclasses: [{name: A, exemplars: [x]}, {name: a, exemplars: [y]}]\n", "two classes are named 'a'"),
        ("name: s\nclasses: [{name: fox, exemplars: [gone.png]}]\n", "class 'fox': exemplar .*gone.png"),
    ],
)
def test_bad_sets_are_explained(tmp_path, text, message):
    (tmp_path / "s.yaml").write_text(text)
    with pytest.raises(SpecError, match=message):
        exemplars.load(str(tmp_path / "s.yaml"))
