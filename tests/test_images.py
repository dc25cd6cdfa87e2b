"""Bytes -> pixels: every odd format, and damage that is told apart."""

import io

import numpy as np
import pytest
from PIL import Image

from tests.jobs import odd_files
from tlg import pictures
from tlg.errors import InputError


def test_every_odd_file_decodes_or_says_why_not(tmp_path):
    for name, outcome in odd_files.write(tmp_path).items():
        if outcome == "vanished":
            continue
        content = (tmp_path / name).read_bytes()
        if outcome in ("mask", "absent"):
            picture = pictures.decode(content)
            assert picture.pixels.dtype == np.uint8, name
            assert picture.pixels.shape == (picture.height, picture.width, 3), name
        else:
            with pytest.raises(InputError) as caught:
                pictures.decode(content)
            assert caught.value.kind == outcome, f"{name}: {caught.value}"


def test_orientation_is_applied(tmp_path):
    odd_files.write(tmp_path)
    picture = pictures.decode((tmp_path / "on its side.jpg").read_bytes())
    assert (picture.height, picture.width) == (60, 40)


@pytest.mark.parametrize("name", ["large.png", "on its side.jpg", "sixteen bits.png"])
def test_large_images_are_scaled_and_their_masks_come_back_at_native_size(tmp_path, name):
    odd_files.write(tmp_path)
    content = (tmp_path / name).read_bytes()
    whole, scaled = pictures.decode(content), pictures.decode(content, max_pixels=500)
    assert scaled.pixels.shape[0] * scaled.pixels.shape[1] <= 500
    assert (scaled.height, scaled.width) == (whole.height, whole.width)
    mask = scaled.upscaled_mask(scaled.pixels.mean(axis=2) > 100)
    truth = whole.pixels.mean(axis=2) > 100
    assert mask.shape == truth.shape
    assert (mask == truth).mean() > 0.9


def test_damaged_bytes_raise_nothing_but_input_errors(tmp_path):
    rng = np.random.default_rng(0)
    odd_files.write(tmp_path)
    for name in ("plain.jpg", "palette.png", "packed.tiff", "moving.gif", "plain.webp", "plain.bmp", "plain.ppm"):
        whole = (tmp_path / name).read_bytes()
        for _ in range(60):
            damaged = bytearray(whole)
            for place in rng.integers(0, len(damaged), 8):
                damaged[place] = rng.integers(256)
            try:
                pictures.decode(bytes(damaged[: rng.integers(1, len(damaged) + 1)]))
            except InputError:
                continue


@pytest.mark.parametrize("read", [pictures.decode, pictures.decode_mask])
def test_what_is_no_image_is_named_the_same_in_every_run(read):
    with pytest.raises(InputError, match=r"begins with b'nothing '; expected") as caught:
        read(b"nothing that could be seen")
    assert " at 0x" not in str(caught.value)


def test_transparency_lies_on_white():
    stream = io.BytesIO()
    Image.new("RGBA", (2, 2), (0, 0, 0, 0)).save(stream, "PNG")
    assert (pictures.decode(stream.getvalue()).pixels == 255).all()
