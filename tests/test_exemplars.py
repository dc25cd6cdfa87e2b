"""Exemplar sets from files and folders, and errors that name class and file."""

import hashlib
import json

import numpy as np
import pytest
from PIL import Image

from tlg import exemplars, pictures
from tlg.errors import SpecError
from tlg.exemplars import loaded


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
        loaded.feed(digest, *record)
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


def test_the_mask_of_a_very_large_exemplar_is_scaled_with_it(tmp_path, monkeypatch):
    decode = pictures.guarded_decode
    monkeypatch.setattr(pictures, "guarded_decode", lambda content: decode(content, max_pixels=48 * 64))
    picture(tmp_path / "1.png", size=(128, 96))
    mask = np.zeros((96, 128), np.uint8)
    mask[:48, 64:] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    (tmp_path / "s.yaml").write_text("name: s\nclasses: [{name: fox, exemplars: [{image: 1.png, mask: m.png}]}]\n")
    exemplar = exemplars.load(str(tmp_path / "s.yaml")).classes[0].exemplars[0]
    assert exemplar.pixels.shape == (48, 64, 3)
    assert np.array_equal(exemplar.mask, mask[::2, ::2] > 0)


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


def drawn_set(tmp_path, drawing):
    picture(tmp_path / "1.png", size=(60, 40))
    place = tmp_path / "s.json"
    place.write_text(
        json.dumps({"name": "s", "classes": [{"name": "fox", "exemplars": [{"image": "1.png"} | drawing]}]})
    )
    return str(place)


DRAWINGS = [
    {"boxes": [[5, 6, 20, 10]]},
    {"points": [[5, 6]]},
    {"points": [[5, 6]], "not_points": [[50, 30]]},
    {"scribbles": [{"points": [[5, 6], [20, 16]]}]},
    {"scribbles": [{"points": [[5, 6], [20, 16]], "width": 9}]},
    {"polygons": [[[5, 6], [20, 6], [20, 16]]]},
]


def test_every_drawing_is_part_of_the_digest(tmp_path):
    digests = {exemplars.load(drawn_set(tmp_path, drawing)).digest for drawing in [{}, *DRAWINGS]}
    assert len(digests) == 1 + len(DRAWINGS)


def test_an_exemplar_without_a_drawing_keeps_its_digest(tmp_path):
    """Answers of collections that were annotated before drawings were read stay valid."""
    assert exemplars.load(drawn_set(tmp_path, {})).digest == exemplars.load(drawn_set(tmp_path, {"boxes": []})).digest


def test_an_outline_is_a_mask_and_a_box_waits_for_the_picture(tmp_path):
    outlined = exemplars.load(drawn_set(tmp_path, DRAWINGS[-1])).classes[0].exemplars[0]
    assert outlined.drawing is None
    assert outlined.mask.shape == (40, 60)
    assert outlined.mask[7, 17]
    assert not outlined.mask[15, 6]
    boxed = exemplars.load(drawn_set(tmp_path, DRAWINGS[0])).classes[0].exemplars[0]
    assert boxed.mask is None
    assert boxed.drawing.boxes == [(5, 6, 20, 10)]


@pytest.mark.parametrize(
    ("drawing", "message"),
    [
        ({"boxes": [[5, 6, 0, 10]]}, r"class 'fox': boxes\[0\] of .*1.png is 0 wide and 10 high; expected"),
        ({"boxes": [[0, 0, 1, 1], [50, 6, 20, 10]]}, r"boxes\[1\] reaches \(70, 16\), its image .*1.png is 60x40"),
        ({"points": [[5, 45]]}, r"class 'fox': points\[0\] reaches \(5, 45\), its image .*1.png is 60x40; expected"),
        ({"points": [[1, 1]], "not_points": [[-3, 5]]}, r"not_points\[0\] reaches \(-3, 5\)"),
        ({"scribbles": [{"points": [[1, 1], [99, 1]]}]}, r"scribbles\[0\] reaches \(99, 1\)"),
        ({"polygons": [[[1, 1], [9, 1], [1, 99]]]}, r"polygons\[0\] reaches \(1, 99\)"),
        ({"not_points": [[1, 1]]}, r"1.png carries `not_points` alone, .* add points"),
        ({"boxes": [[float("nan"), 6, 5, 10]]}, r"s.json: classes.0.exemplars.0.boxes.0.0: .*finite number"),
        ({"boxes": [[5, 6, 5]]}, r"s.json: classes.0.exemplars.0.boxes.0.3: Field required|boxes.0.3' is missing"),
        ({"polygons": [[[1, 1], [9, 1]]]}, r"polygons.0: List should have at least 3 items"),
        ({"scribbles": [{"points": [[1, 1]], "width": 0}]}, r"scribbles.0.width: .*greater than 0 \(found 0\)"),
        ({"boxs": [[5, 6, 5, 10]]}, r"unknown key .*boxs' \(did you mean 'boxes'\?\)"),
    ],
)
def test_bad_drawings_are_explained(tmp_path, drawing, message):
    with pytest.raises(SpecError, match=message):
        exemplars.load(drawn_set(tmp_path, drawing))


def labelme(path, *shapes):
    content = {"version": "5.5.0", "flags": {}, "shapes": list(shapes), "imageData": None}
    path.write_text(json.dumps(content))


def shape(kind, points, label="red fox"):
    return {"label": label, "shape_type": kind, "points": points, "group_id": None, "flags": {}}


def test_a_folder_may_hold_masks_and_labelme_files_beside_its_pictures(tmp_path):
    folder = tmp_path / "set" / "red fox"
    picture(folder / "1.jpg", size=(60, 40))
    picture(folder / "1.mask.png", size=(60, 40))
    picture(folder / "2.png", size=(60, 40))
    picture(folder / "lonely.mask.png", size=(60, 40))
    labelme(
        folder / "2.json",
        shape("rectangle", [[25, 16], [5, 6]]),
        shape("point", [[7, 8]], label="Red Fox"),
        shape("linestrip", [[7, 8], [9, 9]]),
        shape("polygon", [[1, 1], [5, 1], [5, 5]]),
        shape("circle", [[30, 20], [34, 20]]),
        shape("rectangle", [[40, 20], [50, 30]], label="badger"),
    )
    (folder / "1.json").write_text('{"camera": "left"}')
    described = exemplars.describe(str(tmp_path / "set"))
    first, second, third = described.classes[0].exemplars
    assert (first.mask, first.drawing) == (str(folder / "1.mask.png"), exemplars.Drawing())
    assert second.boxes == [(5, 6, 20, 10)]
    assert second.points == [(7, 8)]
    assert second.scribbles == [exemplars.Scribble(points=[(7, 8), (9, 9)])]
    assert [len(polygon) for polygon in second.polygons] == [3, 36]
    assert third.image.endswith("lonely.mask.png")  # a picture of that name, since no other is beside it
    assert exemplars.load(str(tmp_path / "set")).classes[0].exemplars[1].mask.sum() > 40


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", r"1.json: not JSON: .*; expected LabelMe's file"),
        ('{"shapes": 3}', r"1.json: `shapes` is no list of shapes"),
        ('{"shapes": [{"label": "fox"}]}', r"1.json: found 'fox', expected a shape labelled 'red fox'"),
        ('{"shapes": []}', r"1.json: found no shapes, expected a shape labelled 'red fox'"),
        ('{"shapes": [{"label": "red fox", "points": []}]}', r"labelled 'red fox' has no `points`"),
        (
            '{"shapes": [{"label": "red fox", "shape_type": "mask", "points": [[1, 1], [2, 2]]}]}',
            r"a shape of type 'mask' cannot be read; known are polygon, .* `NAME.mask.png`",
        ),
    ],
)
def test_bad_labelme_files_are_explained(tmp_path, content, message):
    picture(tmp_path / "set" / "red fox" / "1.png")
    (tmp_path / "set" / "red fox" / "1.json").write_text(content)
    with pytest.raises(SpecError, match=message):
        exemplars.load(str(tmp_path / "set"))
