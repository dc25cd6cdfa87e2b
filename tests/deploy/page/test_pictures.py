"""How pictures come, what is asked, and that hundreds of them stay bounded."""

import base64
import zipfile

import pytest

from tests.deploy.page.conftest import scene

pytestmark = pytest.mark.cluster


def asked(endpoint):
    return [request for request in endpoint.requests if request[:2] == ("POST", "/v1/annotate")]


def exemplars_sent(endpoint):
    return [request for request in endpoint.requests if request[:2] == ("POST", "/v1/exemplar-sets")]


def test_three_hundred_stay_bounded_and_one_more_is_one_request(endpoint, with_exemplars, browser, discs):
    with_exemplars(endpoint)
    browser.choose("#pictures", discs(300, size=(96, 64)))
    browser.until_message("300 of 300 annotated.", 240)
    assert len(asked(endpoint)) == 300
    assert len(exemplars_sent(endpoint)) == 1
    tiles = len(browser.all(".tile"))
    assert 0 < tiles < 60
    browser.script("scrollTo(0, document.body.scrollHeight)")
    browser.until(lambda: browser.all(".tile[aria-posinset='300']"), "the last tile is there")
    assert len(browser.all(".tile")) < 60
    heap = browser.script("return performance.memory.usedJSHeapSize")
    assert heap < 100_000_000

    exemplar_bytes = exemplars_sent(endpoint)[0][2]
    extra = discs(1, "extra", size=(96, 64))
    browser.choose("#pictures", extra)
    browser.until_message("1 of 1 annotated.")
    assert len(asked(endpoint)) == 301
    assert len(exemplars_sent(endpoint)) == 1
    # The request carries the picture and a digest: no exemplar.
    assert asked(endpoint)[-1][2] < extra[0].stat().st_size + 1500 < exemplar_bytes
    assert not browser.errors()


def test_cancel_keeps_what_is_answered_and_asks_the_rest_later(make_endpoint, with_exemplars, browser, discs):
    endpoint = make_endpoint(model="dry-run:0.15")
    with_exemplars(endpoint)
    browser.choose("#pictures", discs(40))
    browser.until(lambda: "about" in browser.one("#progress-text").text, "the time left is told")
    browser.click("#cancel")
    browser.until_message("Cancelled:")
    done = int(browser.message().split(": ")[1].split(" of")[0])
    assert 0 < done < 40
    before = len(asked(endpoint))
    assert before < 40
    browser.click("#annotate")
    browser.until_message(f"{40 - done} of {40 - done} annotated.")
    assert len(asked(endpoint)) == before + 40 - done


def test_what_fails_says_why_and_is_tried_again(endpoint, with_exemplars, browser, discs, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(discs(1)[0].read_bytes()[:60])
    with_exemplars(endpoint)
    browser.choose("#pictures", [broken])
    browser.until_message("0 of 1 annotated, 1 failed.")
    assert "damaged" in browser.one(".tile .problem").text or "not an image" in browser.one(".tile .problem").text
    before = len(asked(endpoint))
    browser.click(".tile .again")
    browser.until(lambda: len(asked(endpoint)) > before, "it is asked again")
    browser.until(lambda: browser.one("#retry").is_displayed(), "all failed can be tried again")
    assert browser.one("#annotate-why").text == "Only failed pictures are left: try those again."
    clipped = "const one = document.querySelector('.tile .problem'); return one.scrollHeight > one.clientHeight + 1"
    assert not browser.script(clipped), "the reason is cut"


def test_archives_paste_and_addresses(make_endpoint, with_exemplars, browser, discs, tmp_path):
    folder = tmp_path / "below"
    folder.mkdir()
    far, _ = scene(folder / "far.png", 3)
    endpoint = make_endpoint(uri_prefixes=[str(folder)])
    archive = tmp_path / "pictures.zip"
    first, second, third = discs(3)
    with zipfile.ZipFile(archive, "w") as made:
        made.write(first, "deep/stored.png", zipfile.ZIP_STORED)
        made.write(second, "deflated.png", zipfile.ZIP_DEFLATED)
        made.writestr("__MACOSX/._deflated.png", b"rubbish")
        made.writestr("notes.txt", b"no picture")
    with_exemplars(endpoint)
    browser.choose("#pictures", [archive])
    browser.until_message("2 of 2 annotated.")
    browser.script("document.activeElement.blur()")  # what is pasted into a class is an exemplar of it
    browser.hand_over("body", [third], "paste")
    browser.until_message("1 of 1 annotated.")
    browser.one("#address").send_keys(f"{folder}/\n")
    browser.until(lambda: len(browser.all(".tile")) == 4, "the picture behind the address is there")
    browser.until(lambda: all("found" in text for text in browser.texts(".tile .lines")), "all are answered")
    assert browser.texts(".tile .file-name") == ["stored.png", "deflated.png", third.name, far.name]
    assert not browser.errors()


def test_changed_exemplars_make_answers_stale_and_files_that_miss_the_page_do_no_harm(
    endpoint, with_exemplars, browser, discs
):
    with_exemplars(endpoint)
    address = browser.driver.current_url
    browser.hand_over("header", discs(2))
    browser.until_message("2 of 2 annotated.")
    assert browser.driver.current_url == address
    browser.one(".class-name").send_keys("!")
    browser.until(lambda: browser.texts(".tile .chip") == ["stale", "stale"], "both answers are stale")
    assert "2 answers are stale" in browser.one("#stale").text
    browser.click("#ask-again")
    browser.until(lambda: browser.texts(".tile .chip") == ["answered", "answered"], "both are renewed")
    assert not browser.one("#stale").is_displayed()


def test_controls_that_cannot_be_used_say_why(endpoint, browser):
    browser.open(endpoint.url)
    assert "Add an exemplar first" in browser.one("#annotate-why").text
    browser.click("#annotate")
    assert "Add an exemplar first" in browser.message()
    browser.click("#add-address")
    assert "uri_prefixes" in browser.message()


def test_run_lengths_are_those_of_pycocotools(endpoint, browser):
    import numpy as np
    from pycocotools import mask as coco_mask

    rng = np.random.default_rng(0)
    masks = [rng.random(shape) < share for shape in ((1, 1), (7, 5), (40, 30)) for share in (0.0, 0.1, 0.5, 1.0)]
    expected = [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode() for mask in masks]
    sent = [
        [list(mask.shape), base64.b64encode(np.packbits(mask.ravel("F"))).decode(), counts]
        for mask, counts in zip(masks, expected, strict=True)
    ]
    browser.open(endpoint.url)
    found = browser.driver.execute_async_script(
        """const [sent, done] = arguments;
        import("/ui/masks/rle.js").then(({encodeMask, decodeMask, measured}) => done(sent.map((one) => {
          const [size, bits, counts] = one, mask = new Uint8Array(size[0] * size[1]);
          const bytes = Uint8Array.from(atob(bits), (c) => c.charCodeAt(0));
          mask.forEach((_, i) => { mask[i] = (bytes[i >> 3] >> (7 - i % 8)) & 1; });
          const same = decodeMask({size, counts}).every((value, i) => value === mask[i]);
          return [encodeMask(mask, size).counts, same, measured({size, counts}).area];
        })));""",
        sent,
    )
    assert found == [[counts, True, int(mask.sum())] for counts, mask in zip(expected, masks, strict=True)]


def test_the_drawn_sample_needs_no_file(endpoint, browser):
    browser.open(endpoint.url)
    browser.click("#sample")
    browser.until_message("6 of 6 annotated.")
    assert len(browser.all(".class .thumbs li")) == 3


def test_a_class_keeps_its_number_in_whatever_order_it_is_answered(endpoint, browser):
    """Colours and label maps go by the number."""
    browser.open(endpoint.url)
    found = browser.driver.execute_async_script(
        """const done = arguments[0];
        import("/ui/pictures/collection.js").then(({Collection}) => {
          const collection = new Collection({read: async () => undefined, write: () => {}});
          const [picture] = collection.add([{name: "a.png"}]);
          const row = (class_name, class_id) => ({class_name, class_id, status: "absent", score: 0});
          collection.answer(picture, [row("hare", 2), row("fox", 1)], null);
          done(collection.classes);
        });"""
    )
    assert found == [{"name": "fox", "number": 1}, {"name": "hare", "number": 2}]
