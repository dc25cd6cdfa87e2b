"""The page of `tlg review` in a real browser: by keys alone, mended masks, two people, a killed server."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.keys import Keys

from jobs.review import verdicts
from tests.jobs import exported
from tests.review.server import serving
from tests.servers import axe
from tests.servers import browser as browsers
from tlg.answers import records

pytestmark = pytest.mark.cluster
PICTURES = 4


@pytest.fixture
def make_browser(programs, tmp_path):
    """People with a browser each."""
    opened = []

    def make():
        folder = tmp_path / f"person-{len(opened)}"
        folder.mkdir()
        opened.append(browsers.started(programs, folder))
        return opened[-1].__enter__()

    yield make
    for one in opened:
        one.__exit__(None, None, None)


@pytest.fixture
def browser(make_browser):
    return make_browser()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return exported.write_output(tmp_path, 8)


def press(browser, *keys: str) -> None:
    ActionChains(browser.driver).send_keys(*keys).perform()


def begin(browser, url: str, name: str = "Ann") -> None:
    """By keys alone: the name has the focus, or the button where the name is known."""
    browser.open(url)
    if not browser.script("return document.getElementById('reviewer').value"):
        press(browser, name)
    press(browser, Keys.ENTER)
    until_seen(browser)


def title(browser) -> str:
    return browser.script("return document.getElementById('viewer-title').textContent")


def until_seen(browser, other_than: str = "") -> None:
    """A picture is open and drawn."""
    seen = "return !document.getElementById('viewer').hidden && document.querySelector('.canvas-place .notice').hidden"
    browser.until(lambda: browser.script(seen) and title(browser) != other_than, "the picture is seen")


def told(browser) -> bool:
    return bool(browser.all("#told[open]"))


def accept_the_rest(browser) -> int:
    """One key a picture; returns how many there were."""
    count = 0
    while not told(browser):
        before = title(browser)
        press(browser, Keys.ENTER)
        count += 1
        browser.until(lambda before=before: told(browser) or (title(browser) != before), "the next one is open")
        if not told(browser):
            until_seen(browser)
    return count


def chips(browser) -> list[str]:
    return browser.texts("#viewer .classes .chip")


def choose(browser, chip: str) -> None:
    """The class that the picture before had in hand stays in hand, so it takes more or fewer keys."""
    while browser.one("#viewer .classes .current .chip").text != chip:
        press(browser, Keys.ARROW_DOWN)


def kept(out: Path, count: int, browser) -> list[verdicts.Verdict]:
    browser.until(lambda: len(verdicts.read(str(out))) >= count, f"{count} verdicts are in the output")
    return verdicts.read(str(out))


def test_one_key_a_picture_and_a_killed_server_loses_none(browser, out: Path) -> None:
    with serving(out, "--pictures", str(PICTURES)) as server:
        begin(browser, server.url)
        first = title(browser)
        press(browser, "x")
        (said,) = kept(out, 1, browser)
        server.kill()
        assert said.reviewer == "Ann"
        press(browser, Keys.ARROW_DOWN, "x")
        browser.until(lambda: "not kept" in browser.message(), "the page says that the server is gone")
    assert len(verdicts.read(str(out))) == 1
    with serving(out, "--pictures", str(PICTURES)) as server:
        begin(browser, server.url)
        assert title(browser) == first
        assert "Ann says" in browser.one("#viewer .classes").text
        accept_the_rest(browser)
        assert browser.errors(allowed=("CONNECTION_REFUSED",)) == []  # those of the page whose server was killed
        text = server.interrupt()
    assert f"{PICTURES} of 8 pictures reviewed" in text
    assert (out / "review" / "figures.json").exists()
    held = {(one.image_id, one.class_name): one.verdict for one in verdicts.read(str(out))}
    assert len(held) == PICTURES * len(exported.NAMES)
    assert held[said.image_id, said.class_name] == said.verdict


def test_a_mended_mask_is_what_was_drawn_and_undoing_takes_it_back(browser, out: Path) -> None:
    with serving(out, "--pictures", "8") as server:
        begin(browser, server.url)
        while "found" not in chips(browser):
            before = title(browser)
            press(browser, "n")
            until_seen(browser, before)
        choose(browser, "found")
        press(browser, "e", "[", "[")
        box = browser.one("#viewer canvas").rect
        chain = ActionChains(browser.driver).move_to_element_with_offset(
            browser.one("#viewer canvas"), -int(box["width"] * 0.4), 0
        )
        chain.click_and_hold().move_by_offset(int(box["width"] * 0.8), 0).release().perform()
        (said,) = kept(out, 1, browser)
        assert "mended" in chips(browser)
        answered = exported.masks(int(Path(said.image_uri).stem))[said.class_name]
        assert said.rle is not None
        mended = records.decode_mask(said.rle)
        assert 0 < mended.sum() < answered.sum()
        assert not (mended & ~answered).any(), "erasing adds nothing"
        assert not mended[exported.HEIGHT // 2, 10 : exported.WIDTH - 10].any(), "the stroke went through the middle"
        assert said.iou == pytest.approx((mended & answered).sum() / answered.sum(), abs=1e-6)
        press(browser, "z")
        browser.until(lambda: not verdicts.read(str(out)), "it is taken back")
        browser.until(lambda: "mended" not in chips(browser), "the mask is as it was")
        assert browser.errors() == []


def test_an_absent_class_is_drawn_where_it_was_missing(browser, out: Path) -> None:
    with serving(out, "--pictures", "8") as server:
        begin(browser, server.url)
        while "absent" not in chips(browser):
            before = title(browser)
            press(browser, "n")
            until_seen(browser, before)
        choose(browser, "absent")
        press(browser, "r")
        (said,) = kept(out, 1, browser)
        assert (said.verdict, said.rle) == ("missing", None)
        browser.until(lambda: "missing" in chips(browser), "it says missing")
        press(browser, "b", " ", *[Keys.ARROW_RIGHT] * 4, " ")
        drawn = kept(out, 2, browser)[-1]
        assert drawn.verdict == "missing"
        assert drawn.rle is not None
        browser.until(lambda: "mended" in chips(browser), "it says mended")
        browser.driver.refresh()
        browser.until(lambda: browser.script("return document.body.dataset.ready") == "yes", "the page is ready")
        assert "mended" in browser.texts(".tile .verdict")
        assert browser.errors() == []


def test_two_people_on_one_review_lose_nothing(make_browser, out: Path) -> None:
    ann, ben = make_browser(), make_browser()
    with serving(out, "--pictures", "8") as server:
        begin(ann, server.url, "Ann")
        begin(ben, server.url, "Ben")
        assert title(ann) == title(ben)
        press(ann, "x")
        kept(out, 1, ann)
        press(ben, Keys.ARROW_DOWN, "x")
        kept(out, 2, ben)
        # What the other said is shown without loading the page again.
        for person, other in ((ann, "Ben"), (ben, "Ann")):
            person.until(
                lambda person=person, other=other: f"{other} says" in person.one("#viewer .classes").text,
                f"{other}'s verdict is shown",
            )
        # Both judge the same answer: both are kept, and whoever comes later hears of it.
        press(ben, Keys.ARROW_UP, "r")
        ben.until_message("Ann said of")
        said = kept(out, 3, ben)
        last = said[-1]
        both = [one for one in said if (one.image_id, one.class_name) == (last.image_id, last.class_name)]
        assert [one.reviewer for one in both] == ["Ann", "Ben"]
        accept_the_rest(ben)
        everything = verdicts.read(str(out))
        assert {(one.image_id, one.class_name, one.verdict, one.reviewer) for one in said} <= {
            (one.image_id, one.class_name, one.verdict, one.reviewer) for one in everything
        }
        assert ann.errors() == ben.errors() == []


def test_axe_finds_nothing_serious_and_it_fits_every_screen(browser, out: Path) -> None:
    try:
        script = axe.source()
    except axe.Unavailable as error:
        pytest.skip(str(error))
    found = []
    with serving(out, "--pictures", str(PICTURES)) as server:
        begin(browser, server.url)
        for where, key in (("viewer", None), ("list", Keys.ESCAPE), ("figures", "w")):
            if key:
                press(browser, key)
            if where == "figures":
                browser.until(lambda: told(browser), "the figures are shown")
            for width in (360, 1280, 1920):
                for dark in (False, True):
                    browser.size(width, 900, dark)
                    lines = axe.violations(browser, script)
                    found += [f"{where} {width} {line}" for line in lines if line.startswith(("serious", "critical"))]
                    if browser.script("return document.documentElement.scrollWidth > innerWidth"):
                        found.append(f"{where} is wider than {width}")
    assert not found, "\n".join(found)
