"""Bytes -> pixels: every odd format, and damage that is told apart."""

import io
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.jobs import odd_files
from tlg import pictures
from tlg.errors import InputError
from tlg.pictures import header


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


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def test_only_named_formats_are_opened(monkeypatch):
    """PostScript would be handed to an interpreter."""
    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: pytest.fail("a program was started"))
    page = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(InputError, match="not an image: begins with b'%!PS-Ado'"):
        pictures.decode(page)
    with pytest.raises(InputError, match="not an image"):
        pictures.decode_mask(page)


def test_pillow_s_settings_stay_the_host_s():
    program = "from PIL import Image, ImageFile; before = Image.MAX_IMAGE_PIXELS; import tlg.pictures; "
    program += "assert Image.MAX_IMAGE_PIXELS == before and not ImageFile.LOAD_TRUNCATED_IMAGES"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_a_jpeg_of_many_scans_is_refused_before_it_is_decoded():
    jpeg = saved(Image.new("RGB", (4000, 3000)), "JPEG", progressive=True)
    assert pictures.check_header(jpeg) == (3000, 4000)
    last = jpeg[jpeg.rindex(b"\xff\xda") : -2]
    with pytest.raises(InputError, match="scans would take minutes") as caught:
        pictures.decode(jpeg[:-2] + last * 400 + jpeg[-2:])
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize("filling", [b"\xff" * 60_000_000, b"\x00" * 60_000_000, b"\xff\xe0\x00\x02" * 15_000_000])
def test_a_header_without_end_is_refused_fast(filling):
    start = time.process_time()
    with pytest.raises(InputError, match="begins like a JPEG, but no scan follows"):
        pictures.decode(b"\xff\xd8\xff" + filling)
    assert time.process_time() - start < 1


def test_too_many_bytes_are_refused(monkeypatch):
    monkeypatch.setattr(header, "MAX_BYTES", 100)
    with pytest.raises(InputError, match="at most 100") as caught:
        pictures.decode(saved(Image.new("RGB", (90, 90)), "BMP"))
    assert caught.value.kind == "too_large"


@pytest.mark.parametrize("read", [pictures.decode, pictures.decode_mask])
def test_a_bomb_is_refused_whatever_it_is_read_as(read):
    with pytest.raises(InputError) as caught:
        read(odd_files._png_header(40_000, 40_000))
    assert caught.value.kind == "too_large"


def test_a_picture_with_broken_exif_is_read_as_it_lies():
    png = saved(Image.new("RGB", (6, 4), (1, 2, 3)), "PNG", exif=b"Exif\0\0MM\0*" + b"\xff" * 20)
    assert pictures.decode(png).pixels.shape == (4, 6, 3)


def test_a_png_with_a_damaged_header_is_called_a_png():
    png = bytearray(saved(Image.new("RGB", (6, 4)), "PNG"))
    png[18] ^= 1
    with pytest.raises(InputError, match="begins like a PNG, but"):
        pictures.decode(bytes(png))


def test_numbers_beyond_16_bits_keep_their_steps():
    values = np.linspace(0, 4_000_000, 256, dtype=np.int32).reshape(16, 16)
    shown = pictures.decode(saved(Image.fromarray(values), "TIFF")).pixels[:, :, 0]
    assert np.abs(shown.flatten().astype(int) - np.arange(256)).max() <= 1


def test_every_orientation_lies_as_pillow_lays_it():
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        png = saved(Image.fromarray(pixels), "PNG", exif=exif)
        expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(png))))
        found = pictures.decode(png)
        assert np.array_equal(found.pixels, expected), orientation
        assert (found.height, found.width) == expected.shape[:2]


@pytest.mark.parametrize(
    ("kind", "mode", "side", "options"),
    [("PNG", "RGB", 8600, {}), ("PNG", "RGBA", 8600, {}), ("PNG", "P", 17000, {}), ("JPEG", "RGB", 20000, {})],
)
def test_decoding_stays_within_three_times_the_pixels_it_may_give(tmp_path, kind, mode, side, options):
    """The largest pictures that are accepted at 50 megapixels, each in a process whose highest memory is told."""
    file = tmp_path / "large"
    Image.new(mode, (side, side)).save(file, kind, **options)
    program = f"""
import resource
from tlg import pictures
content = open({str(file)!r}, "rb").read()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
pixels = pictures.decode(content).pixels
assert pixels.shape[0] * pixels.shape[1] <= 50_000_000
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 3 * 50_000_000 * 3


def test_what_would_take_more_memory_is_refused_with_the_way_out():
    with pytest.raises(InputError, match=r"MB to decode.*raise run.max_pixels") as caught:
        pictures.decode(odd_files._png_header(15_000, 15_000))
    assert caught.value.kind == "too_large"
