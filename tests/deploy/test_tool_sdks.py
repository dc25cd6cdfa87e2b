"""The labelling tools' own SDKs, in environments of their own, against an endpoint that answers over HTTP."""

import json
import os
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
import uvicorn

from tests.importers.check import READERS
from tests.servers.environments import Unavailable, environment
from tests.servers.swift import free_port
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
# `annotate_task` is what cvat-cli runs: it checks the function's labels and every shape. Only the server is ours.
CVAT = """
import json, logging, sys
from types import SimpleNamespace
import numpy
from PIL import Image
from cvat_sdk import auto_annotation, models
from cvat_sdk.masks import decode_mask
from deploy.connectors import cvat

url, image_file, mask_file = sys.argv[1:]
image = Image.open(image_file)
function = cvat.create(url=url, exemplars="animals")
labels = [models.Label(name=one.name, id=number, type="any", attributes=[], sublabels=[])
          for number, one in enumerate(function.spec.labels, start=50)]
sample = SimpleNamespace(frame_name="q.png", frame_index=3, media=SimpleNamespace(load_image=lambda: image))
auto_annotation.driver.TaskDataset = lambda *_, **__: SimpleNamespace(labels=labels, samples=[sample])
uploaded = []
api = SimpleNamespace(update_annotations=lambda _, labeled_data_request: uploaded.append(labeled_data_request))
client = SimpleNamespace(logger=logging.getLogger(), tasks=SimpleNamespace(api=api))
for conf_threshold, to_polygons in ((None, False), (0.5, True)):
    auto_annotation.annotate_task(client, 1, function, clear_existing=True,
                                  conf_threshold=conf_threshold, conv_mask_to_poly=to_polygons)
masks, polygons = [request.shapes for request in uploaded]
numpy.save(mask_file, decode_mask(masks[0].points, image_width=image.width, image_height=image.height))
described = [[[one.label_id, one.type.value, one.frame, one.source] for one in shapes] for shapes in (masks, polygons)]
print(json.dumps([[one.name for one in function.spec.labels], *described]))
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
    (tmp_path / "q.png").write_bytes(content)
    said = output_of(python, CVAT, endpoint, tmp_path / "q.png", tmp_path / "mask.npy")
    labels, masks, polygons = json.loads(said)
    assert labels == ["fox", "bear"]
    assert masks == [[50, "mask", 3, "auto"]]
    assert polygons
    assert all(one == [50, "polygon", 3, "auto"] for one in polygons)
    np.testing.assert_array_equal(np.load(tmp_path / "mask.npy"), mask_of(client, content))


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
