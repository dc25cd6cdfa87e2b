"""Stored sets on the page: two people lose nothing of one another's; masks become exemplars; the check warns."""

import base64

import httpx
import pytest
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.cluster


def inline(*paths, name="theirs"):
    images = [{"image": {"data": base64.b64encode(path.read_bytes()).decode()}} for path in paths]
    return {"classes": [{"name": name, "exemplars": images}]}


def answer_question(browser, yes):
    browser.until(lambda: browser.all("dialog.question[open] h2"), "a question is asked")
    title = browser.one("dialog.question[open] h2").text
    browser.click(f"dialog.question[open] button[value={'yes' if yes else 'no'}]")
    return title


def open_stored(browser, name):
    browser.click("#open-set")
    browser.until(lambda: browser.all("#sets-dialog[open] li"), "the list is open")
    browser.click(f"#sets-dialog [aria-label='Open {name}']")
    browser.until_message(f"{name} is open.")


def test_two_people_on_one_set(endpoint, browser, discs):
    sets = f"{endpoint.url}/v1/exemplar-sets/discs"
    first, second, third = discs(3)
    httpx.put(sets, json=inline(first, name="disc")).raise_for_status()
    browser.open(endpoint.url)
    open_stored(browser, "discs")
    browser.choose(".class input[type=file]", [second])
    browser.until(lambda: len(browser.all(".class .thumbs img[src]")) == 2, "the exemplar is added")
    theirs = httpx.put(sets, json=inline(first, third, name="disc")).json()["digest"]
    browser.click("#save-set")
    assert answer_question(browser, yes=False) == "Changed by somebody else"
    browser.until_message("Nothing was saved.")
    assert httpx.get(sets).json()["digest"] == theirs
    # Under another name both are there.
    browser.click("#save-set-as")
    browser.until(lambda: browser.all("#asked-text"), "a name is asked")
    browser.one("#asked-text").clear()
    browser.one("#asked-text").send_keys("mine", Keys.ENTER)
    browser.until_message("Saved as mine.")
    assert httpx.get(sets).json()["digest"] == theirs
    # What the endpoint has is not sent again.
    sizes = [size for method, path, size in endpoint.requests if (method, path) == ("PUT", "/v1/exemplar-sets/mine")]
    assert sizes[-1] < 2000


def test_renamed_and_deleted_after_a_question(endpoint, browser, discs):
    httpx.put(f"{endpoint.url}/v1/exemplar-sets/one", json=inline(*discs(2))).raise_for_status()
    before = httpx.get(f"{endpoint.url}/v1/exemplar-sets/one").json()["digest"]
    browser.open(endpoint.url)
    browser.click("#open-set")
    browser.until(lambda: browser.all("#sets-dialog [aria-label='Rename one']"), "the list is open")
    browser.click("#sets-dialog [aria-label='Rename one']")
    browser.one("#asked-text").clear()
    browser.one("#asked-text").send_keys("two", Keys.ENTER)
    browser.until(lambda: browser.all("#sets-dialog [aria-label='Delete two']"), "it is renamed")
    assert httpx.get(f"{endpoint.url}/v1/exemplar-sets/two").json()["digest"] == before
    assert httpx.get(f"{endpoint.url}/v1/exemplar-sets/one").status_code == 404
    browser.click("#sets-dialog [aria-label='Delete two']")
    assert answer_question(browser, yes=True) == "Delete two?"
    browser.until_message("two is deleted.")
    assert httpx.get(f"{endpoint.url}/v1/exemplar-sets/two").status_code == 404


def test_a_mended_mask_becomes_an_exemplar_and_the_check_warns(make_endpoint, with_exemplars, browser, discs):
    endpoint = make_endpoint(model="tlg-tiny")
    with_exemplars(endpoint)
    browser.choose("#pictures", discs(1, "query"))
    browser.until_message("1 of 1 annotated.", 120)
    browser.click(".tile .picture")
    browser.until(lambda: browser.script("return document.querySelector('.canvas-place .notice').hidden"), "it is open")
    browser.one("#viewer canvas").send_keys("u")
    browser.until_message("is an exemplar of orange disc now")
    browser.one("#viewer canvas").send_keys(Keys.ESCAPE)
    browser.click("#add-class")
    browser.all(".class-name")[1].send_keys("lonely")
    browser.all(".class input[type=file]")[1].send_keys(str(discs(1, "lonely")[0]))
    browser.until(lambda: len(browser.all(".class .thumbs img[src]")) == 4, "four exemplars are shown")
    browser.click("#check-set")
    browser.until(lambda: "worth a look" in browser.message(), "the check is done", 120)
    warnings = [text for text in browser.texts(".warning") if text]
    assert any("only exemplar of its class" in text for text in warnings)
    digest = next(path for method, path, _ in endpoint.requests if path.endswith("/check")).split("/")[3]
    document = httpx.get(f"{endpoint.url}/v1/exemplar-sets/{digest}/document").json()
    assert [bool(ref["mask"]) for ref in document["classes"][0]["exemplars"]] == [False, False, True]
    assert not browser.errors()


def test_verdicts_come_back_with_the_same_file(endpoint, with_exemplars, browser, discs):
    picture = discs(1, "query")
    with_exemplars(endpoint)
    browser.choose("#pictures", picture)
    browser.until_message("1 of 1 annotated.")
    browser.click(".tile .picture")
    browser.one("#viewer canvas").send_keys("x", Keys.ESCAPE)
    browser.until(lambda: browser.texts(".tile .verdict") == ["not there"], "the verdict is shown")
    browser.script("window.onbeforeunload = null")
    browser.driver.execute_cdp_cmd("Page.enable", {})
    browser.click(".tile .remove")
    browser.until(lambda: not browser.all(".tile"), "it is gone")
    browser.choose("#pictures", picture)
    browser.until(lambda: browser.texts(".tile .verdict") == ["not there"], "the verdict is back")
