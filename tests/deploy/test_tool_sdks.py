"""The labelling tools' own SDKs, in environments of their own, against an endpoint that answers over HTTP."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import uvicorn
import yaml

from deploy.connectors import cvat_shapes
from deploy.connectors.push import push
from tests.importers.check import READERS
from tests.jobs import collection
from tests.servers import cvat as cvat_server
from tests.servers.environments import Unavailable, environment
from tests.servers.ports import free_port
from tlg.answers import records

pytestmark = pytest.mark.cluster
ROOT = Path(__file__).parents[2]
# What deploy/connectors/cvat.py needs beside the SDK: the client, and masks.
CVAT_REQUIREMENTS = (
    "cvat-cli",
    "cvat-sdk",
    "httpx",
    "pydantic",
    "pyyaml",
    "numpy>=2",
    "pillow",
    "pyarrow",
    "pycocotools",
)
# `annotate_task` is what cvat-cli runs: it checks the function's labels and every shape, and uploads them.
CVAT = """
import sys
from pathlib import Path
from cvat_sdk import auto_annotation, make_client
from deploy.connectors import cvat

url, server, token, cache = sys.argv[1:]
function = cvat.create(url=url, exemplars="animals")
with make_client(server, access_token=token) as client:
    client.config.cache_dir = Path(cache)
    for conf_threshold, to_polygons in ((None, False), (0.5, True)):
        auto_annotation.annotate_task(client, 7, function, allow_unmatched_labels=True,
                                      conf_threshold=conf_threshold, conv_mask_to_poly=to_polygons)
"""
# The server that the tests have answers in CVAT's own words: its SDK reads them into its strict models.
CVAT_TASK = """
import hashlib, json, sys
import numpy
from cvat_sdk import make_client
from cvat_sdk.masks import decode_mask

server, token, mask_file = sys.argv[1:]
with make_client(server, access_token=token) as client:
    task = client.tasks.retrieve(7)
    frames = task.get_frames_info()
    digests = [hashlib.sha256(task.get_frame(number, quality="original").read()).hexdigest()
               for number in range(task.size)]
    labels = [[one.id, one.name, str(one.type)] for one in task.get_labels()]
    shapes = sorted(task.get_annotations().shapes, key=lambda one: one.frame)
numpy.save(mask_file, decode_mask(shapes[0].points, image_width=frames[0].width, image_height=frames[0].height))
described = [[one.frame, one.label_id, one.type.value, one.source, one.score] for one in shapes]
print(json.dumps([[one.name for one in frames], digests, labels, described]))
"""
# What `cvat-cli function create-native` does before it speaks to the server.
CVAT_AGENT = """
import argparse, json, sys
from cvat_cli._internal.agent import get_function_driver_class
from cvat_cli._internal.common import FunctionLoader, configure_function_implementation_arguments

parser = argparse.ArgumentParser()
configure_function_implementation_arguments(parser)
asked = ["--function-module", "deploy.connectors.cvat", "-p", f"url=str:{sys.argv[1]}", "-p", "exemplars=str:animals"]
arguments = parser.parse_args(asked)
arguments = vars(arguments)
loader = FunctionLoader(arguments["function_module"], None, dict(arguments["function_parameters"]))
function = loader.load()
driver = get_function_driver_class(function.spec)
fields = driver.get_remote_function_fields(function.spec)
print(json.dumps([driver.FUNCTION_KIND, [[one["name"], one["type"]] for one in fields["labels_v2"]]]))
"""
LABEL_STUDIO = """
import json, sys
import numpy
from label_studio_sdk.converter.brush import decode_rle

regions, mask_file = json.loads(sys.argv[1]), sys.argv[2]
(region,) = regions
rgba = numpy.reshape(decode_rle(region["value"]["rle"]), (region["original_height"], region["original_width"], 4))
assert set(numpy.unique(rgba)) <= {0, 255}
numpy.save(mask_file, (rgba == 255).all(axis=2))
"""
CONFIG = """<View><Image name="img" value="$picture"/>
<BrushLabels name="tag" toName="img"><Label value="fox"/><Label value="bear"/></BrushLabels></View>"""


@pytest.fixture
def endpoint(client):
    """The address of the endpoint behind `client`, which programs outside this process can ask."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(client.app, port=port, log_level="error"))
    serving = threading.Thread(target=server.run)
    serving.start()
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    serving.join()


def python_of(name, requirements):
    try:
        return environment(name, requirements) / "python"
    except Unavailable as error:
        pytest.skip(str(error))


def output_of(python, script, *arguments):
    done = subprocess.run(
        [python, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def mask_of(client, content):
    rows = client.post("/v1/annotate", files={"image": content}, data={"exemplars": "animals"}).json()["rows"]
    return records.decode_mask(rows[0]["rle"])


def test_cvat_accepts_what_the_function_returns(client, endpoint, make_picture, tmp_path):
    python = python_of("cvat-sdk", CVAT_REQUIREMENTS)
    content = make_picture(2)
    with cvat_server.serving(
        cvat_server.Cvat({"q.png": content}, {"bear": "any", "fox": "any"}, size=(48, 32))
    ) as cvat:
        output_of(python, CVAT, endpoint, cvat.url, cvat_server.TOKEN, tmp_path)
    first, *others = cvat.shapes
    assert (first["type"], first["label_id"], first["frame"], first["source"]) == ("mask", 51, 0, "auto")
    assert others
    assert {(one["type"], one["label_id"]) for one in others} == {("polygon", 51)}
    assert first["points"] == cvat_shapes.mask_points(mask_of(client, content))


def test_cvats_sdk_reads_what_is_pushed(exemplar_folder, tmp_path, monkeypatch):
    """The task is the collection of a job, and its answers go back to it."""
    python = python_of("cvat-sdk", CVAT_REQUIREMENTS)
    monkeypatch.setenv("CVAT_ACCESS_TOKEN", cvat_server.TOKEN)
    pictures = {f"north/{number}.png": collection.picture(number) for number in range(3)}
    with cvat_server.serving(cvat_server.Cvat(pictures, {"hare": "mask", "fox": "mask"})) as cvat:
        images, out = {"cvat": {"url": cvat.url, "task": cvat_server.TASK}}, str(tmp_path / "out")
        job = tmp_path / "job.yaml"
        job.write_text(yaml.safe_dump(collection.spec("", exemplar_folder, out, images=images).model_dump()))
        # In a process of its own: workers of a Ray that is there already have no token.
        subprocess.run([sys.executable, "-m", "jobs.annotate", str(job)], cwd=ROOT, check=True)
        list(push(out))
        said = output_of(python, CVAT_TASK, cvat.url, cvat_server.TOKEN, tmp_path / "mask.npy")
    names, digests, labels, shapes = json.loads(said)
    assert names == list(pictures)
    assert digests == [hashlib.sha256(content).hexdigest() for content in pictures.values()]
    assert labels == [[50, "hare", "mask"], [51, "fox", "mask"]]
    rows = [row for row in collection.answers(out).to_pylist() if row["status"] == "mask"]
    assert shapes == [[number, 51, "mask", "auto", row["score"]] for number, row in enumerate(rows)]
    np.testing.assert_array_equal(np.load(tmp_path / "mask.npy"), records.decode_mask(rows[0]["rle"]))


def test_cvats_agents_take_the_function(client, endpoint):
    python = python_of("cvat-sdk", CVAT_REQUIREMENTS)
    kind, labels = json.loads(output_of(python, CVAT_AGENT, endpoint))
    assert (kind, labels) == ("detector", [["fox", "mask"], ["bear", "mask"]])


def test_label_studios_sdk_decodes_our_regions(make_client, make_exemplars, make_picture, tmp_path):
    python = python_of("label-studio-sdk", READERS["label-studio-sdk"][0])
    content = make_picture(1)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(content)
    image = f"file://{tmp_path}/pictures/1.png"
    client = make_client(uri_prefixes=[str(tmp_path / "pictures")])
    client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1, bear=1)).raise_for_status()
    setup = {"project": "7.1", "schema": CONFIG, "extra_params": '{"exemplars": "animals"}'}
    client.post("/ls/setup", json=setup).raise_for_status()
    asked = {"tasks": [{"id": 1, "data": {"picture": image}}], "project": "7.1", "label_config": CONFIG, "params": {}}
    regions = client.post("/ls/predict", json=asked).json()["results"][0]["result"]
    output_of(python, LABEL_STUDIO, json.dumps(regions), tmp_path / "mask.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "mask.npy"), mask_of(client, content))
