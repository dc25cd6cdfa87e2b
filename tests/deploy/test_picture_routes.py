"""Pictures behind addresses: only below the prefixes, only images, and never anything that a browser would run."""

import pytest


@pytest.fixture
def folder(tmp_path, make_picture):
    place = tmp_path / "pics" / "deep"
    place.mkdir(parents=True)
    (place / "a.png").write_bytes(make_picture(1))
    (place / "page.png").write_text("<script>alert(1)</script>")
    (tmp_path / "pics" / "notes.txt").write_text("no picture")
    (tmp_path / "secret.png").write_bytes(make_picture(2))
    return tmp_path


@pytest.fixture
def client(make_client, folder):
    return make_client(uri_prefixes=[str(folder / "pics")])


def test_a_picture_and_the_list_of_a_folder(client, folder, make_picture):
    listed = client.get("/v1/picture-lists", params={"uri": f"{folder}/pics"}).json()
    assert listed["complete"]
    assert [uri.rpartition("/pics/")[2] for uri in listed["uris"]] == ["deep/a.png", "deep/page.png"]
    answer = client.get("/v1/pictures", params={"uri": listed["uris"][0]})
    assert (answer.headers["content-type"], answer.content) == ("image/png", make_picture(1))
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    ("path", "uri", "status"),
    [
        ("/v1/pictures", "{folder}/secret.png", 403),
        ("/v1/pictures", "{folder}/pics/../secret.png", 403),
        ("/v1/pictures", "{folder}/pics/deep/page.png", 422),
        ("/v1/pictures", "{folder}/pics/deep/none.png", 422),
        ("/v1/picture-lists", "{folder}", 403),
        ("/v1/picture-lists", "{folder}/pics/../", 403),
    ],
)
def test_nothing_else_is_told(client, folder, path, uri, status):
    answer = client.get(path, params={"uri": uri.format(folder=folder)})
    assert answer.status_code == status
    assert "script" not in answer.text


def test_a_web_address_has_no_list(make_client):
    client = make_client(uri_prefixes=["https://images.example.org/"])
    answer = client.get("/v1/picture-lists", params={"uri": "https://images.example.org/a/"})
    assert (answer.status_code, "web address" in answer.json()["detail"]) == (422, True)


def test_settings_tell_what_cannot_be_done(make_client):
    told = make_client(models=["tlg-tiny"]).get("/v1/settings").json()
    assert (told["models"], told["uri_prefixes"], told["jobs"]) == (["dry-run", "tlg-tiny"], False, False)
