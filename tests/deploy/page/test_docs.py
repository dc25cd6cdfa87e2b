"""The API page: every call with examples that work, tried from the page."""

import pytest

pytestmark = pytest.mark.cluster


def test_every_call_is_there_and_can_be_tried(endpoint, browser):
    browser.open(f"{endpoint.url}/docs")
    calls = browser.texts(".operation summary")
    assert any("POST/v1/annotate" in text for text in calls)
    assert not [text for text in calls if "`" in text]
    browser.script("document.querySelector('#post-v1-annotate summary').click()")
    browser.until(lambda: browser.all("#post-v1-annotate form.try"), "the form is there")
    assert "curl -X POST" in browser.one("#post-v1-annotate pre").text
    browser.click("#post-v1-annotate form.try .primary")
    browser.until(lambda: browser.texts("#post-v1-annotate .answer .chip") == ["200"], "the example is answered")
    assert '"class_name": "orange disc"' in browser.one("#post-v1-annotate .answer pre").text
    assert not browser.errors()


def test_no_call_of_the_api_is_without_words(client):
    document = client.get("/openapi.json").json()
    silent = [
        f"{method} {path}"
        for path, methods in document["paths"].items()
        for method, described in methods.items()
        if path.startswith("/v1/exemplar")
        or path.startswith(("/v1/annotate", "/v1/jobs", "/v1/pictures", "/v1/exports"))
        if not described.get("description")
    ]
    assert not silent


@pytest.mark.parametrize(
    ("path", "name"), [("/v1/annotate", "rows"), ("/v1/annotate/batch", "rows"), ("/v1/exemplar-sets", "digest")]
)
def test_examples_work_as_they_stand(client, path, name):
    document = client.get("/openapi.json").json()
    example = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["example"]
    answer = client.post(path, json=example)
    assert answer.is_success, answer.text
    assert answer.json()[name]
