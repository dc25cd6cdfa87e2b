"""The real Label Studio against the endpoint and the job: tokens, webhook, predictions, a collection, a push."""

import threading
import time

import numpy as np
import pytest
import uvicorn

from deploy.connectors import push as pushing
from jobs.annotate import annotate
from tests.jobs import collection
from tests.servers.environments import Unavailable
from tests.servers.label_studio import LEGACY_TOKEN, label_studio
from tests.servers.ports import free_port
from tlg import store
from tlg.answers.formats import label_studio as brushes
from tlg.errors import CredentialsError
from tlg.store import label_studio_api
from tlg.store.label_studio import tasks

pytestmark = [pytest.mark.cluster, pytest.mark.long]
CONFIG = """<View><Image name="img" value="$image"/>
<BrushLabels name="tag" toName="img"><Label value="fox"/><Label value="hare"/></BrushLabels></View>"""
PICTURES = 5
PATIENCE_SECONDS = 60


@pytest.fixture(scope="module")
def studio():
    try:
        with label_studio() as server:
            yield server
    except Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def project(studio, make_picture):
    return studio.project(CONFIG, [make_picture(number) for number in range(PICTURES)])


@pytest.fixture
def endpoint(make_client, make_exemplars, studio):
    """An endpoint that Label Studio can ask, and its client; it knows the set `animals`."""
    client = make_client(label_studio={"url": studio.url})
    client.put("/v1/exemplar-sets/animals", **make_exemplars(fox=1, hare=1)).raise_for_status()
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(client.app, port=port, log_level="error"))
    serving = threading.Thread(target=server.run)
    serving.start()
    yield f"http://127.0.0.1:{port}", client
    server.should_exit = True
    serving.join()


@pytest.fixture(params=["legacy", "personal"])
def token(request, studio, monkeypatch):
    label_studio_api.studio.cache_clear()
    given = LEGACY_TOKEN if request.param == "legacy" else studio.personal_token()
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", given)
    return given


def annotation(labels, mask):
    value = {"format": "rle", "rle": brushes.encode_brush(mask), "brushlabels": labels}
    region = {"type": "brushlabels", "from_name": "tag", "to_name": "img", "value": value, "id": "one"}
    return {"result": [region | {"original_width": 48, "original_height": 32, "image_rotation": 0}]}


def in_time(found):
    """What `found()` gives as soon as it gives something."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (result := found()):
        assert time.monotonic() < deadline, "nothing came"
        time.sleep(0.1)
    return result


def test_a_correction_becomes_an_exemplar_and_the_next_prediction_knows_it(studio, project, endpoint, token):
    url, client = endpoint
    studio.post("/api/webhooks/", json={"url": f"{url}/ls/webhook", "project": project, "send_payload": True})
    first, second, third = [task["id"] for task in studio.get("/api/tasks/", project=project)["tasks"]][:3]
    mask = np.zeros((32, 48), bool)
    mask[4:20, 6:30] = True
    studio.post(f"/api/tasks/{second}/annotations/", json=annotation(["hare"], mask) | {"was_cancelled": True})
    studio.post(f"/api/tasks/{first}/annotations/", json=annotation(["fox"], mask))
    name = f"label-studio-{project}"
    stored = in_time(lambda: (found := client.get(f"/v1/exemplar-sets/{name}")).is_success and found.json())
    assert [(one["name"], one["exemplars"], one["masks"]) for one in stored["classes"]] == [("fox", 1, 1)]
    studio.post("/api/ml/", json={"url": f"{url}/ls", "project": project, "title": "tlg"})
    chosen = {"selectedItems": {"all": False, "included": [third]}}
    studio.post(f"/api/dm/actions?id=retrieve_tasks_predictions&project={project}", json=chosen)
    (prediction,) = in_time(lambda: studio.get("/api/predictions/", task=third))
    assert prediction["model_version"].startswith(f"dry-run, {name} ")
    assert [region["value"]["brushlabels"] for region in prediction["result"]] == [["fox"]]


def test_a_project_is_a_collection(studio, project, make_picture, token, monkeypatch):
    uri = f"label-studio+{studio.url}/projects/{project}"
    monkeypatch.setattr("tlg.store.label_studio.TASKS_PER_PAGE", 2)
    entries = list(store.entries(uri, "**/*.png"))
    assert len(entries) == PICTURES
    assert {store.read(entry.uri) for entry in entries} == {make_picture(number) for number in range(PICTURES)}
    with pytest.raises(store.StorageError) as missing:
        store.read(f"{uri}/tasks/999999/x.png")
    assert missing.value.missing
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "a.b.c" if "." in token else "0" * 40)
    with pytest.raises(CredentialsError, match="LABEL_STUDIO_API_KEY"):
        list(store.entries(uri))


def test_an_access_token_that_has_run_out_is_exchanged_again(studio, project, monkeypatch):
    label_studio_api.studio.cache_clear()
    token = studio.personal_token()
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", token)
    api = label_studio_api.studio(studio.url)
    api._access = (token, "run.out.long-ago")
    assert api.get(f"/api/projects/{project}/")["id"] == project
    assert api._access[1] != "run.out.long-ago"


def test_answers_are_pushed_once_however_often_the_command_is_stopped(
    studio, project, exemplar_folder, tmp_path, monkeypatch
):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", LEGACY_TOKEN)
    label_studio_api.studio.cache_clear()
    uri, out = f"label-studio+{studio.url}/projects/{project}", str(tmp_path / "out")
    images = {"label_studio": {"url": studio.url, "project": project}}
    job = collection.spec("", exemplar_folder, out, images=images)
    assert job.images.uri == uri
    assert annotate(job).done == PICTURES
    monkeypatch.setattr(pushing, "IMAGES_PER_PAGE", 2)
    lines = pushing.push(out)
    assert "looking at what is there" in next(lines)
    assert next(lines) == "2 predictions pushed, 0 were there"
    lines.close()  # stopped between two pages
    assert list(pushing.push(out))[-1] == "3 predictions pushed, 2 were there"
    assert list(pushing.push(out))[-1] == f"0 predictions pushed, {PICTURES} were there"
    predictions = studio.get("/api/predictions/", project=project)
    assert sorted(one["task"] for one in predictions) == [task.number for task in tasks(uri, 10)]
    region = predictions[0]["result"][0]
    assert region["value"]["brushlabels"][0] in ("fox", "hare")
