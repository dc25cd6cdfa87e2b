"""The whole way of a person: exemplars with a box, pictures, sorting, mending, files, a stored set."""

import io
import json
import zipfile

import httpx
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from tests.deploy.page.conftest import BLUE, scene

pytestmark = pytest.mark.cluster


def drag(browser, selector, start, by):
    """From a place, counted from the canvas's centre."""
    canvas = browser.one(selector)
    chain = ActionChains(browser.driver).move_to_element_with_offset(canvas, *start).click_and_hold()
    chain.move_by_offset(*by).release().perform()


def decoded(rle):
    return coco_mask.decode(rle | {"counts": rle["counts"].encode()}).astype(bool)


def is_open(browser):
    return browser.script("const n = document.querySelector('.canvas-place .notice'); return n && n.hidden")


def test_from_exemplars_with_a_box_to_files_and_a_stored_set(make_endpoint, with_exemplars, browser, discs, tmp_path):
    endpoint = make_endpoint(model="tlg-tiny")
    with_exemplars(endpoint)
    browser.click(".thumbs .open")
    browser.until(lambda: browser.all("#drawer canvas"), "the drawer is open")
    browser.until(lambda: browser.script("return document.querySelector('#drawer canvas').width > 300"), "it is drawn")
    drag(browser, "#drawer canvas", (-150, -120), (300, 240))
    browser.until(lambda: "1 box." in "".join(browser.texts("#drawer p")), "a box is drawn")
    browser.click("#drawer .primary")
    browser.click("#add-class")
    browser.all(".class-name")[1].send_keys("blue disc")
    browser.all(".class input[type=file]")[1].send_keys(str(scene(tmp_path / "blue.png", 50, colour=BLUE)[0]))
    browser.until(lambda: len(browser.all(".class .thumbs img[src]")) == 3, "the third exemplar is shown")

    paths = discs(6, "query")
    browser.hand_over("#results", paths)  # anywhere on the page
    browser.until_message("6 of 6 annotated.", 120)
    answers = browser.texts(".tile .lines")
    assert len(answers) == 6
    assert all("orange discfound" in text for text in answers)

    # Sorted, opened, mended by mouse and by keyboard.
    browser.script("const s = document.getElementById('sort'); s.value = 'name'; s.dispatchEvent(new Event('change'))")
    browser.click(".tile[aria-posinset='1'] .picture")
    browser.until(lambda: is_open(browser), "the picture is open")
    canvas = browser.one("#viewer canvas")
    canvas.send_keys("b")
    drag(browser, "#viewer canvas", (-300, -150), (100, 0))
    browser.until(lambda: "mended" in "".join(browser.texts("#viewer .chip")), "the mask is mended")
    canvas.send_keys(Keys.ARROW_RIGHT)  # a brush in hand: moves its pointer
    canvas.send_keys("v", "n")
    browser.until(lambda: "query-001" in browser.one("#viewer-title").text and is_open(browser), "the next is open")
    canvas.send_keys("x", "n")
    browser.until(lambda: "query-002" in browser.one("#viewer-title").text and is_open(browser), "the third is open")
    canvas.send_keys(Keys.ENTER)
    browser.until(lambda: "query-003" in browser.one("#viewer-title").text, "the fourth is open")
    canvas.send_keys(Keys.ESCAPE)
    browser.until(lambda: not browser.one("#viewer").is_displayed(), "the view is closed")

    browser.click("#download-coco")
    coco = json.loads(browser.downloaded("instances.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == [path.name for path in paths]
    verdicts = {}
    for one in coco["annotations"]:
        verdicts.setdefault(coco["images"][one["image_id"] - 1]["file_name"], []).append(one["attributes"]["verdict"])
        mask = decoded(one["segmentation"])
        assert (
            mask.sum(),
            coco_mask.toBbox(one["segmentation"] | {"counts": one["segmentation"]["counts"].encode()}).tolist(),
        ) == (one["area"], one["bbox"])
    assert "mended" in verdicts["query-000.png"]
    assert "query-001.png" not in verdicts or "accepted" not in verdicts["query-001.png"]
    assert set(verdicts["query-002.png"]) == {"accepted"}

    browser.click("#download-yolo")
    labels = zipfile.ZipFile(browser.downloaded("yolo_seg.zip"))
    assert {f"labels/query-00{number}.txt" for number in range(6)} <= set(labels.namelist())
    browser.click("#download-maps")
    maps = zipfile.ZipFile(browser.downloaded("label_maps.zip"))
    values = np.asarray(Image.open(io.BytesIO(maps.read("label_maps/query-000.png"))))
    mended = next(one for one in coco["annotations"] if one["attributes"]["verdict"] == "mended")
    assert (values > 0)[decoded(mended["segmentation"])].all()

    browser.click("#save-set")
    browser.until(lambda: browser.all("#asked-text"), "a name is asked")
    browser.one("#asked-text").send_keys("discs", Keys.ENTER)
    browser.until_message("Saved as discs.")
    document = httpx.get(f"{endpoint.url}/v1/exemplar-sets/discs/document").json()
    assert [len(of["exemplars"]) for of in document["classes"]] == [2, 1]
    box = document["classes"][0]["exemplars"][0]["boxes"][0]
    assert box[2] > 20
    assert box[3] > 20
    assert not browser.errors()
