"""The bundled model gives an image the same rows through the endpoint and in a batch job, both for real."""

import io
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from jobs.annotate import annotate
from tests.jobs import collection, odd_files
from tlg import world
from tlg.answers import records
from tlg.client import Client

pytestmark = [pytest.mark.cluster, pytest.mark.long]
MODEL = "tlg-tiny"
CLASSES = ("mug", "truck")
SCENES = 8
ODD = (
    "cmyk.jpg",
    "on its side.jpg",
    "palette with transparency.png",
    "sixteen bits.tiff",
    "thin.png",
    "füchse & hasen #1 100%.jpg",
)
# What belongs to one run, or to how an image was found, and not to its answer.
NOT_COMPARED = {"run_id", "image_etag"}


def scene(seed, name):
    return world.scene(np.random.default_rng(seed), 160, [name], name).image


def encoded(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def stored(served):
    """The exemplar set as the endpoint keeps it."""
    exemplars = {name: [encoded(scene([1, number, k], name)) for k in range(2)] for number, name in enumerate(CLASSES)}
    with Client(served.url) as client:
        return client.put_exemplar_set("things", exemplars)


@pytest.fixture
def pictures(served):
    """Scenes of both classes, and odd files among them."""
    odd_files.write(served.images)
    for path in list(served.images.iterdir()):
        if path.name in ODD:
            path.rename(path.with_name(path.name.replace(" ", "_")))  # a URI has no spaces
        else:
            path.unlink()
    for number in range(SCENES):
        (served.images / f"{number}.png").write_bytes(encoded(scene([2, number], CLASSES[number % 2])))
    return sorted(str(path) for path in served.images.iterdir())


def without_run(rows):
    return [{name: value for name, value in row.items() if name not in NOT_COMPARED} for row in rows]


def test_online_rows_are_a_batch_jobs_rows(served, stored, pictures, local_ray, tmp_path):
    spec = collection.spec(str(served.images), stored.uri, str(tmp_path / "out"), model=MODEL, run={"batch_size": 3})
    annotate(spec)
    batch = collection.answers(spec.output.uri).to_pylist()

    def asked(uri):
        body = {"image": {"uri": uri}, "exemplars": "things", "model": MODEL}
        return served.http.post("/v1/annotate", json=body).raise_for_status().json()["rows"]

    with ThreadPoolExecutor(8) as threads:
        online = [row for rows in threads.map(asked, pictures) for row in rows]
    assert without_run(online) == without_run(batch)
    assert len(online) == len(pictures) * len(CLASSES)
    found = [row for row in online if row["status"] == "mask"]
    assert len(found) >= SCENES / 2, "the model found next to nothing: equal rows would prove little"
    assert {row["model_digest"] for row in online} != {"dry-run"}
    assert all(records.decode_mask(row["rle"]).sum() == row["area"] for row in found)
