"""A day's work on the page: 300 pictures, three mended masks, files, a stored set, fifty answers reviewed by keys.

Photographs of every station at two widths lie in the test's folder, for whoever changes how the page looks.
"""

import json
import zipfile

import httpx
import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from jobs.review import verdicts
from tests.deploy.page.conftest import BLUE, scene
from tests.deploy.page.test_jobs import cluster, remembered  # noqa: F401
from tests.deploy.page.test_way import drag, is_open
from tests.jobs import exported
from tests.servers.browser import Browser

pytestmark = [pytest.mark.cluster, pytest.mark.long]
PICTURES, ANSWERS, MENDED = 300, 50, 3


@pytest.fixture
def look(browser, tmp_path):
    def photographed(name):
        for width in (390, 1280):
            browser.size(width)
            browser.script("return new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
            browser.photograph(tmp_path / f"{name}-{width}.png")

    return photographed


def press(browser, *keys):
    ActionChains(browser.driver).send_keys(*keys).perform()


def test_from_a_first_box_to_a_reviewed_job(make_endpoint, with_exemplars, browser, discs, look, remembered, tmp_path):  # noqa: F811
    jobs, _ = remembered
    out = exported.write_output(tmp_path, ANSWERS)
    jobs.append(cluster.JobState("foxes-1", "SUCCEEDED", started_at=1.0, ended_at=2.0, output=str(out)))
    endpoint = make_endpoint(
        jobs_address="http://127.0.0.1:9", uri_prefixes=[str(tmp_path / "images")], output_prefixes=[str(out)]
    )
    browser.open(endpoint.url)
    look("01-empty")

    # Exemplars, one of them with a box.
    with_exemplars(endpoint)
    browser.click("#add-class")
    browser.all(".class-name")[1].send_keys("blue disc")
    browser.all(".class input[type=file]")[1].send_keys(str(scene(tmp_path / "blue.png", 50, colour=BLUE)[0]))
    browser.until(lambda: len(browser.all(".class .thumbs img[src]")) == 3, "three exemplars are shown")
    browser.click(".thumbs .open")
    browser.until(lambda: browser.script("return document.querySelector('#drawer canvas')?.width > 300"), "it is drawn")
    drag(browser, "#drawer canvas", (-400, -140), (285, 285))  # around the disc
    browser.until(lambda: "1 box." in "".join(browser.texts("#drawer p")), "a box is drawn")
    look("02-box")
    browser.click("#drawer .primary")

    # Three hundred pictures, sorted.
    browser.choose("#pictures", discs(PICTURES, "query", size=(160, 110)))
    browser.until(lambda: not browser.script("return document.getElementById('progress').hidden"), "it has begun")
    look("03-asking")
    browser.until_message(f"{PICTURES} of {PICTURES} annotated.", 300)
    browser.script("document.getElementById('summary').open = true")
    browser.script(
        "const s = document.getElementById('sort'); s.value = 'uncertain'; s.dispatchEvent(new Event('change'))"
    )
    look("04-answered")

    # Three masks are mended.
    browser.script("scrollTo(0, 0)")
    browser.click(".tile[aria-posinset='1'] .picture")
    for number in range(MENDED):
        browser.until(lambda: is_open(browser), "the picture is open")
        press(browser, "b")
        drag(browser, "#viewer canvas", (-200, -120), (80, 10))
        browser.until(lambda: "mended" in browser.texts("#viewer .classes .chip"), "the mask is mended")
        if number == 0:
            look("05-mended")
        before = browser.one("#viewer-title").text
        press(browser, "v", "n")
        browser.until(lambda before=before: browser.one("#viewer-title").text != before, "the next is open")
    press(browser, Keys.ESCAPE)

    # Files, and the set under a name.
    browser.click("#download-coco")
    coco = json.loads(browser.downloaded("instances.json").read_text())
    assert len(coco["images"]) == PICTURES
    assert [one["attributes"]["verdict"] for one in coco["annotations"]].count("mended") == MENDED
    browser.click("#download-yolo")
    labels = zipfile.ZipFile(browser.downloaded("yolo_seg.zip")).namelist()
    assert sum(name.startswith("labels/") for name in labels) == PICTURES
    browser.click("#save-set")
    browser.until(lambda: browser.all("#asked-text"), "a name is asked")
    browser.one("#asked-text").send_keys("discs", Keys.ENTER)
    browser.until_message("Saved as discs.")
    document = httpx.get(f"{endpoint.url}/v1/exemplar-sets/discs/document").json()
    assert len(document["classes"][0]["exemplars"][0]["boxes"]) == 1
    browser.click("#open-set")
    browser.until(lambda: browser.all("#sets-dialog[open] li"), "the list is open")
    look("06-sets")
    press(browser, Keys.ESCAPE)

    # The job's answers, from its entry in the list to what follows.
    browser.click("#to-jobs")
    browser.until(lambda: browser.all("#review-foxes-1"), "the job is listed")
    look("07-jobs")
    browser.script("arguments[0].focus()", browser.one("#review-foxes-1"))
    press(browser, Keys.ENTER)
    reviewed_by_keys(browser, look, out)
    assert not browser.errors()


def reviewed_by_keys(browser: Browser, look, out):
    browser.until(lambda: browser.script("return document.body.dataset.ready") == "yes", "the page is ready")
    browser.until(lambda: len(browser.all(".tile img[src]")) > 3, "pictures are shown")
    look("08-review")
    press(browser, "Ann", Keys.ENTER)
    verdict_keys = ["x", "r"]  # a mask is wrong, and in another picture the class is not there
    title = "return document.getElementById('viewer-title').textContent"
    for number in range(ANSWERS):
        browser.until(lambda: is_open(browser), "the picture is open")
        before = browser.script(title)
        if number == 0:
            look("09-reviewing")
        if number == ANSWERS - 1:
            press(browser, "b", " ", *[Keys.ARROW_RIGHT] * 4, " ", "v")
            browser.until(lambda: "mended" in browser.texts("#viewer .classes .chip"), "it is mended")
        elif verdict_keys and "found" in browser.texts("#viewer .classes .chip"):
            while browser.one("#viewer .classes .current .chip").text != "found":
                press(browser, Keys.ARROW_DOWN)
            press(browser, verdict_keys.pop())
        press(browser, Keys.ENTER)
        if number < ANSWERS - 1:
            browser.until(lambda before=before: browser.script(title) != before, "the next is open")
    browser.until(lambda: browser.all("#told[open]"), "what follows is told")
    look("10-follows")
    held = {(one.image_id, one.class_name): one.verdict for one in verdicts.read(str(out))}
    assert len(held) == ANSWERS * len(exported.NAMES), "every answer has a verdict"
    assert {"right", "wrong", "not_there"} <= set(held.values())
    assert f"{ANSWERS} of {ANSWERS}" in browser.one("#told p").text
