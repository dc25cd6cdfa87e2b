"""Requests that mean harm, or come from a broken tool: each gets the clean refusal it should, and nothing else."""

import base64
import gzip
import io
import json
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from PIL import Image

KEY = "correct-horse-battery-staple"


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(side):
    """A PNG that says it is side x side and has hardly any bytes."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    data = zlib.compress(b"\0" * 100_000, 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def text_bomb():
    """A small picture whose zTXt chunk unpacks to 200 MB."""
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "PNG")
    plain, bomb = stream.getvalue(), zlib.compress(b"A" * 200_000_000, 9)
    return plain[:33] + chunk(b"zTXt", b"Comment\0\0" + bomb) + plain[33:]


class Evil:
    def __reduce__(self):
        import os

        return os.system, ("touch /tmp/tlg-was-here",)


def npz(content):
    stream = io.BytesIO()
    np.savez(stream, content)
    return stream.getvalue()


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * 1_000_000)
    return stream.getvalue()


JPEG_START = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
IMAGES = {
    "png bomb of 4 gigapixels": (png_bomb(65_000), 413),
    "png bomb under Pillow's own limit": (png_bomb(9_000), 413),
    "text bomb": (text_bomb(), 422),
    "nothing": (b"", 422),
    "one byte": (b"\x89", 422),
    "text": (b"hello", 422),
    "html": (b"<html><script>alert(1)</script></html>", 422),
    "svg that reads a file": (b'<!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>', 422),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n%%EOF", 422),
    "pickle": (pickle.dumps(Evil()), 422),
    "pickle behind a jpeg's start": (JPEG_START + pickle.dumps(Evil()), 422),
    "numpy archive": (npz(np.zeros(3)), 422),
    "zip": (zipped(), 422),
    "gzip": (gzip.compress(b"\0" * 1_000_000), 422),
    "gif and html at once": (b"GIF89a/*" + b"\0" * 20 + b"*/=1;alert(1)", 422),
    "pdf and jpeg at once": (b"%PDF-1.4\n" + JPEG_START, 422),
    "tiff that points at itself": (b"II*\0\x08\0\0\0\x01\0\0\x01\x04\0\x01\0\0\0\x08\0\0\0\x08\0\0\0", 422),
    "bmp of negative size": (b"BM" + struct.pack("<IHHIIiiHH24x", 58, 0, 0, 54, 40, -1, -(2**31), 1, 24), 413),
    "webp with a wrong length": (b"RIFF\xff\xff\xff\xffWEBPVP8 " + b"\0" * 30, 422),
    "ppm of absurd size": (b"P6 99999999 99999999 255\n", 413),
}  # fmt: skip


def is_clean(answer, status):
    assert answer.status_code == status, answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert set(problem) == {"type", "title", "status", "detail", "instance"}
    assert problem["status"] == status
    for forbidden in ("Traceback", "site-packages", 'File "', " at 0x", "/tmp/", KEY, "BytesIO"):
        assert forbidden not in answer.text


@pytest.mark.parametrize("kind", IMAGES)
def test_hostile_images(client, kind):
    content, status = IMAGES[kind]
    asked = client.post("/v1/annotate", files={"image": ("x.jpg", content)}, data={"exemplars": "animals"})
    is_clean(asked, status)
    parts = {"files": {"exemplar": ("x.jpg", content)}, "data": {"label": "fox"}}
    is_clean(client.put("/v1/exemplar-sets/bad", **parts), status)
    assert client.get("/v1/exemplar-sets/bad").status_code == 404


def test_bombs_never_allocate(client):
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in (png_bomb(65_000), png_bomb(9_000)):
        client.post("/v1/annotate", files={"image": content}, data={"exemplars": "animals"})
    grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown_mb < 50


URIS = [
    "http://169.254.169.254/latest/meta-data/",
    "http://metadata.google.internal/computeMetadata/v1/",
    "http://127.0.0.1:8265/api/jobs/",
    "http://localhost/",
    "http://[::1]/",
    "http://0x7f000001/",
    "http://images.example.org@127.0.0.1/a.jpg",
    "https://images.example.org.evil.test/pub/a.jpg",
    "https://images.example.org/pub/../private/a.jpg",
    "https://images.example.org/pub/%2e%2e/private/a.jpg",
    "https://images.example.org/pub/%252e%252e/private/a.jpg",
    "https://images.example.org/pub\\..\\private",
    "https://images.example.org:444/pub/a.jpg",
    "http://images.example.org/pub/a.jpg",
    "https://images.example.org/public/a.jpg",
    "file:///etc/passwd",
    "/etc/passwd",
    "../../etc/passwd",
    "s3://other-bucket/a.jpg",
    "s3://traps/../other/a.jpg",
    "gopher://127.0.0.1/",
    "https://images.example.org/pub/a\r\nX: y.jpg",
    "https://[broken/pub/a.jpg",
]


@pytest.mark.parametrize("uri", URIS)
def test_request_forgery(make_client, make_exemplars, uri, monkeypatch):
    import socket

    def no_lookups(*_args, **_kwargs):
        raise AssertionError("nothing may be looked up")

    client = make_client(uri_prefixes=["https://images.example.org/pub", "s3://traps/"])
    client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1)).raise_for_status()
    monkeypatch.setattr(socket, "getaddrinfo", no_lookups)
    is_clean(client.post("/v1/annotate", json={"image": {"uri": uri}, "exemplars": "animals"}), 403)


NAMES = ["..", ".hidden", "a%2f..%2fb", "a%00b", "%e2%80%ae", "né", "a b", "-x", "a" * 101, "con%0a", "%F0%9F%A6%8A"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
def test_names_cannot_leave_the_store(client, make_exemplars, name, method, tmp_path):
    arguments = make_exemplars(fox=1) if method == "PUT" else {}
    answer = client.request(method, f"/v1/exemplar-sets/{name}", **arguments)
    assert answer.status_code in (404, 405, 422)
    is_clean(answer, answer.status_code)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store"]
    assert sorted(path.name for path in (tmp_path / "store").iterdir()) == ["names", "sets", "used"]


PIXEL = base64.b64encode(png_bomb(1)).decode()
GOOD = {"image": {"data": PIXEL}, "exemplars": "animals"}
DEEP = b'{"image": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BODIES = {
    "not json": (b"{", 400),
    "empty": (b"", 400),
    "not utf-8": (b'{"image": "\xff\xfe"}', 400),
    "nested without end": (DEEP, 400),
    "a list": (b"[]", 422),
    "null": (b"null", 422),
    "a huge number": (b'{"min_score": ' + b"9" * 10_000 + b"}", 400),
    "not a number": (json.dumps(GOOD | {"min_score": "NaN"}).encode(), 422),
    "a bare NaN": (json.dumps(GOOD | {"min_score": float("nan")}).encode(), 422),
    "a score above one": (json.dumps(GOOD | {"min_score": 1.5}).encode(), 422),
    "an unknown key": (json.dumps(GOOD | {"__class__": "os.system"}).encode(), 422),
    "a wrong type": (json.dumps(GOOD | {"classes": "fox"}).encode(), 422),
    "an unknown class": (json.dumps(GOOD | {"classes": ["wolf"]}).encode(), 422),
    "an unknown format": (json.dumps(GOOD | {"format": "exe"}).encode(), 422),
    "a model from a path": (json.dumps(GOOD | {"model": "/etc/passwd"}).encode(), 422),
    "a pickle for a model": (json.dumps(GOOD | {"model": "http://evil.test/model.pkl"}).encode(), 422),
    "a set that is a path": (json.dumps(GOOD | {"exemplars": "../../etc/passwd"}).encode(), 422),
    "a set nobody stored": (json.dumps(GOOD | {"exemplars": "wolves"}).encode(), 404),
    "both uri and data": (json.dumps(GOOD | {"image": {"uri": "a", "data": "b"}}).encode(), 422),
    "no base64": (json.dumps(GOOD | {"image": {"data": "@@@@"}}).encode(), 422),
    "a data uri of text": (json.dumps(GOOD | {"image": {"data": "data:text/plain,hello"}}).encode(), 422),
    "a lone surrogate": (b'{"image": {"data": "", "name": "\\ud800"}, "exemplars": "animals"}', 400),
    "an exemplar set of nothing": (json.dumps(GOOD | {"exemplars": {"classes": []}}).encode(), 422),
    "a class without a name": (
        json.dumps(GOOD | {"exemplars": {"classes": [{"name": " ", "exemplars": [{"image": {"data": ""}}]}]}}).encode(),
        422,
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", BODIES)
def test_hostile_json(client, kind):
    body, status = BODIES[kind]
    is_clean(client.post("/v1/annotate", content=body, headers={"content-type": "application/json"}), status)


FORM = "multipart/form-data; boundary=x"
PART = b"--x\r\nContent-Disposition: form-data"
FORMS = {
    "no boundary": ("multipart/form-data", b"--x\r\n", 400),
    "truncated in a part": (FORM, PART + b'; name="image"; filename="a"\r\n\r\nabc', 422),
    "truncated in a header": (FORM, b"--x\r\nContent-Disp", 422),
    "no name": (FORM, PART + b"\r\n\r\nabc\r\n--x--\r\n", 400),
    "other boundary": (FORM, b"--y\r\n\r\n--y--", 400),
    "too many parts": (FORM, (PART + b'; name="a"\r\n\r\n1\r\n') * 2100 + b"--x--\r\n", 400),
    "plain text": ("text/plain", b"hello", 415),
    "pickle": ("application/x-python-pickle", pickle.dumps(Evil()), 415),
    "no type": ("", b"hello", 415),
    "xml": ("application/xml", b"<a/>", 415),
    "url-encoded": ("application/x-www-form-urlencoded", b"exemplars=animals", 415),
}


@pytest.mark.parametrize("kind", FORMS)
def test_hostile_forms(client, kind):
    media_type, body, status = FORMS[kind]
    is_clean(client.post("/v1/annotate", content=body, headers={"content-type": media_type}), status)


def test_bodies_over_the_limit(make_client):
    client = make_client(limits={"body_mb": 0.1})
    headers = {"content-type": "application/json"}
    is_clean(client.post("/v1/annotate", content=b"x" * 200_000, headers=headers), 413)
    is_clean(client.post("/v1/annotate", content=(b"x" * 1000 for _ in range(200)), headers=headers), 413)
    chunks = (b"x" * 1000 for _ in range(200))
    is_clean(
        client.post("/v1/annotate", content=chunks, headers={"content-type": "multipart/form-data; boundary=x"}), 413
    )
    is_clean(client.post("/v1/predict", content=(b"x" * 1000 for _ in range(200)), headers=headers), 413)


@pytest.mark.parametrize("length", ["-1", "abc", "1e9", "9" * 40])
def test_wrong_content_lengths(client, length):
    headers = {"content-type": "application/json", "content-length": length}
    answer = client.post("/v1/annotate", content=b"{}", headers=headers)
    is_clean(answer, 400)


@pytest.mark.parametrize("headers", [{"x-junk": "a" * 100_000}, {f"x-{i}": "a" * 100 for i in range(400)}])
def test_huge_headers(client, headers):
    is_clean(client.get("/healthz", headers=headers), 431)


def test_too_many_exemplars(make_client, make_exemplars):
    client = make_client(limits={"exemplars_per_set": 3})
    is_clean(client.put("/v1/exemplar-sets/many", **make_exemplars(fox=2, bear=2)), 413)


def test_too_many_images(client, make_picture):
    files = [("image", ("a.png", make_picture(1)))] * 65
    is_clean(client.post("/v1/annotate/batch", files=files, data={"exemplars": "animals"}), 422)


def test_errors_nobody_foresaw_show_nothing(client, make_picture, monkeypatch):
    from deploy.endpoint import formats

    def fails(_rows, _classes):
        raise RuntimeError(f"the secret is {KEY}")

    monkeypatch.setattr(formats, "coco", fails)
    data = {"exemplars": "animals", "format": "coco"}
    is_clean(client.post("/v1/annotate", files={"image": make_picture(1)}, data=data), 500)


@pytest.mark.parametrize(
    "path", ["/ui/../app.py", "/ui/%2e%2e/app.py", "/ui/..%2fapp.py", "/ui//etc/passwd", "/.git/config"]
)
def test_files_beside_the_page_are_not_served(client, path):
    answer = client.get(path)
    assert answer.status_code == 404
    assert "import" not in answer.text


def test_request_ids_cannot_forge_log_lines(client, caplog):
    answer = client.get("/nope", headers={"x-request-id": "a b<script>"})
    assert "script" not in answer.text
    assert client.get("/nope", headers={"x-request-id": "abc-1"}).json()["instance"].endswith("abc-1")
