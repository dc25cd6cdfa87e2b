"""The review's page in a real browser: one key a verdict, brush and eraser, two people, a killed server."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from jobs.review import verdicts  # noqa: E402
from tests.jobs import exported  # noqa: E402
from tests.review.server import serving  # noqa: E402
from tests.servers import chromium  # noqa: E402
from tlg.answers import records  # noqa: E402

pytestmark = pytest.mark.cluster
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PICTURES = 4


@pytest.fixture(scope="module")
def programs():
    try:
        return chromium.find_or_install()
    except chromium.Unavailable as error:
        pytest.skip(str(error))


@pytest.fixture
def browser(programs, tmp_path):
    options = webdriver.ChromeOptions()
    options.binary_location = programs.browser
    for flag in [*FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1280,900"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs.driver))
    yield driver
    driver.quit()


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return exported.write_output(tmp_path, 8)


def question(browser) -> str:
    return browser.find_element(By.ID, "question").text


def wait_for(browser, condition) -> None:
    WebDriverWait(browser, 20).until(lambda _: condition())


def opened(browser, url: str) -> None:
    browser.get(url)
    wait_for(browser, lambda: question(browser) != "")


def press(browser, *keys: str) -> None:
    ActionChains(browser).send_keys(*keys).perform()


def told(browser) -> bool:
    return browser.find_element(By.ID, "told").get_attribute("open") is not None


def review_all(browser, key: str = "r") -> int:
    """Answers every question by one key; returns how many there were."""
    count = 0
    while not told(browser):
        before = (question(browser), browser.find_element(By.ID, "about").text)
        press(browser, key if before[0].startswith("Is this mask") else "r")
        count += 1
        wait_for(
            browser,
            lambda before=before: (
                told(browser) or (question(browser), browser.find_element(By.ID, "about").text) != before
            ),
        )
    return count


def severe(browser) -> list[str]:
    return [line["message"] for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def test_one_key_a_verdict_and_a_killed_server_loses_none(browser, out: Path) -> None:
    with serving(out, "--pictures", str(PICTURES)) as server:
        opened(browser, server.url)
        browser.find_element(By.ID, "reviewer").send_keys("Ann")
        browser.find_element(By.ID, "question").click()
        first = question(browser), browser.find_element(By.ID, "about").text
        press(browser, "n" if first[0].startswith("Is this mask") else "r")
        wait_for(browser, lambda: (question(browser), browser.find_element(By.ID, "about").text) != first)
        server.kill()
    said = verdicts.read(str(out))
    assert said
    assert {one.reviewer for one in said} == {"Ann"}
    with serving(out, "--pictures", str(PICTURES)) as server:
        opened(browser, server.url)
        assert (question(browser), browser.find_element(By.ID, "about").text) != first
        review_all(browser)
        assert severe(browser) == []
        text = server.interrupt()
    assert f"{PICTURES} of 8 pictures reviewed" in text
    assert (out / "review" / "figures.json").exists()


def test_a_mended_mask_is_what_was_drawn(browser, out: Path) -> None:
    with serving(out, "--pictures", "8") as server:
        opened(browser, server.url)
        while not question(browser).startswith("Is this mask"):
            before = question(browser)
            press(browser, Keys.ARROW_RIGHT)
            wait_for(browser, lambda before=before: question(browser) != before)
        press(browser, "m")
        wait_for(browser, lambda: question(browser).startswith("Mend: "))
        press(browser, "e")
        stage = browser.find_element(By.ID, "stage")
        width = stage.rect["width"]
        browser.execute_script("document.getElementById('size').value = 100")
        drag = ActionChains(browser).move_to_element_with_offset(stage, -int(width * 0.4), 0).click_and_hold()
        drag.move_by_offset(int(width * 0.8), 0).release().perform()
        press(browser, Keys.ENTER)
        wait_for(browser, lambda: not question(browser).startswith("Mend: "))
        assert severe(browser) == []
    (said,) = [one for one in verdicts.read(str(out)) if one.verdict == "mended"]
    answered = exported.masks(int(Path(said.image_uri).stem))[said.class_name]
    assert said.rle is not None
    mended = records.decode_mask(said.rle)
    assert 0 < mended.sum() < answered.sum()
    assert not (mended & ~answered).any(), "erasing adds nothing"
    middle = mended[exported.HEIGHT // 2, 10 : exported.WIDTH - 10]
    assert not middle.any(), "the stroke went through the middle"
    assert said.iou == pytest.approx((mended & answered).sum() / answered.sum(), abs=1e-6)


def test_it_fits_every_screen_and_is_used_by_keys_alone(browser, out: Path) -> None:
    with serving(out, "--pictures", str(PICTURES)) as server:
        for width in (360, 390, 768, 1280, 1920):
            browser.execute_cdp_cmd(
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500},
            )
            opened(browser, server.url)
            wide = browser.execute_script("return document.documentElement.scrollWidth")
            assert wide <= width
            small = browser.execute_script(
                "return [...document.querySelectorAll('button, input')].filter((one) => one.offsetParent)"
                ".map((one) => [one.getBoundingClientRect(), one.outerHTML])"
                ".filter(([box]) => Math.min(box.width, box.height) < 24).map(([, text]) => text)"
            )
            assert small == [], "targets are 24 pixels at least"
        press(browser, "?")
        assert browser.find_element(By.ID, "keys").get_attribute("open") is not None
        press(browser, Keys.ESCAPE)
        assert browser.find_element(By.ID, "keys").get_attribute("open") is None
        named = browser.execute_script(
            "return [...document.querySelectorAll('button, input')]"
            ".every((one) => (one.textContent + (one.getAttribute('aria-label') || '')"
            " + [...(one.labels || [])].map((label) => label.textContent)).trim())"
        )
        assert named


def test_contrast_is_enough_in_both_schemes(browser, out: Path) -> None:
    with serving(out, "--pictures", str(PICTURES)) as server:
        for scheme in ("light", "dark"):
            features = [{"name": "prefers-color-scheme", "value": scheme}]
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
            opened(browser, server.url)
            for name, least in (("ink", 4.5), ("soft", 4.5), ("bad", 4.5), ("accent", 3), ("line", 3), ("focus", 3)):
                for ground in ("panel", "page"):
                    assert contrast(browser, name, ground) >= least, f"{name} on {ground}, {scheme}"
            assert contrast(browser, "accent-ink", "accent") >= 4.5


def contrast(browser, one: str, other: str) -> float:
    def luminance(name: str) -> float:
        text = browser.execute_script(
            "const s = document.createElement('i'); s.style.color = `var(--${arguments[0]})`;"
            "document.body.append(s); const c = getComputedStyle(s).color; s.remove(); return c",
            name,
        )
        parts = np.array([float(part) for part in text[text.index("(") + 1 : -1].split(",")[:3]]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)
