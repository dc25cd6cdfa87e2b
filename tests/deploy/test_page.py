"""The page in a real browser: from dropping exemplars to a downloaded COCO file."""

import json
import time

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

from tests.servers import chromium  # noqa: E402

pytestmark = pytest.mark.cluster
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
DROP = """
const input = document.createElement('input'); input.type = 'file'; input.multiple = true;
input.addEventListener('change', () => {
  const data = new DataTransfer(); for (const file of input.files) data.items.add(file);
  arguments[0].dispatchEvent(new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true}));
  input.remove();
});
input.style.position = 'fixed'; document.body.append(input); return input;
"""


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
    options.add_experimental_option("prefs", {"download.default_directory": str(tmp_path / "downloads")})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs.driver))
    driver.execute_cdp_cmd(
        "Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path / "downloads")}
    )
    yield driver
    driver.quit()


def drop(browser, zone, paths):
    """What dragging files onto a zone does; WebDriver itself cannot drag from outside the browser."""
    browser.execute_script(DROP, zone).send_keys("\n".join(map(str, paths)))


def phone(browser):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": 812, "deviceScaleFactor": 1, "mobile": True}
    )


def scene(path, seed, left, top, size=(320, 220)):
    """A bright disc on a dark meadow."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[1], : size[0]]
    pixels = np.array((15, 45, 20)) + rng.integers(0, 12, (size[1], size[0], 3))
    disc = (columns - left) ** 2 + (rows - top) ** 2 < 45**2
    pixels[disc] = (235, 150, 60)
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path, disc


def downloaded(folder, name):
    def complete(_):
        return (folder / name).exists() and not list(folder.glob("*.crdownload"))

    return complete


def test_from_dropped_exemplars_to_a_coco_file(served, browser, tmp_path):
    exemplars = [scene(tmp_path / f"fox-{i}.png", i, 100 + 40 * i, 110)[0] for i in range(3)]
    path, disc = scene(tmp_path / "query-1.png", 10, 200, 90)
    other, _ = scene(tmp_path / "query-2.jpg", 11, 90, 120, (400, 300))
    broken = tmp_path / "broken.png"
    broken.write_bytes(path.read_bytes()[:50])
    wait = WebDriverWait(browser, 30)
    browser.get(served.url)

    # By keyboard alone to the first class's name.
    for _ in range(20):
        browser.switch_to.active_element.send_keys(Keys.TAB)
        if "class-name" in (browser.switch_to.active_element.get_attribute("class") or ""):
            break
    browser.switch_to.active_element.send_keys("red fox")
    drop(browser, browser.find_element(By.CSS_SELECTOR, ".class .drop"), exemplars)
    wait.until(lambda b: len(b.find_elements(By.CSS_SELECTOR, ".thumbs img")) == 3)
    drop(browser, browser.find_element(By.ID, "pictures-drop"), [path, other, broken])
    wait.until(lambda b: "2 of 3 annotated, 1 failed" in b.find_element(By.ID, "status").text)

    answers = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".answers li")]
    assert len(answers) == 2
    assert all("red fox" in text and "found" in text and "score 1.00 · presence 1.00" in text for text in answers)
    problems = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".problem") if item.is_displayed()]
    assert len(problems) == 1
    assert "not an image" in problems[0] or "damaged" in problems[0]
    # The overlay changed the disc's pixels and left the meadow alone.
    inside, outside = browser.execute_script(
        "const c = document.querySelector('.result canvas').getContext('2d');"
        "return [[...c.getImageData(200, 90, 1, 1).data], [...c.getImageData(20, 200, 1, 1).data]]"
    )
    pixels = np.asarray(Image.open(path))
    assert np.abs(np.array(inside[:3]) - pixels[90, 200]).max() > 20
    assert np.abs(np.array(outside[:3]) - pixels[200, 20]).max() <= 3

    browser.find_element(By.ID, "download-coco").click()
    downloads = tmp_path / "downloads"
    wait.until(downloaded(downloads, "instances.json"))
    coco = json.loads((downloads / "instances.json").read_text())
    assert [image["file_name"] for image in coco["images"]] == ["query-1.png", "query-2.jpg"]
    assert coco["categories"] == [{"id": 1, "name": "red fox"}]
    rle = coco["annotations"][0]["segmentation"]
    np.testing.assert_array_equal(coco_mask.decode(rle | {"counts": rle["counts"].encode()}).astype(bool), disc)

    browser.find_element(By.CSS_SELECTOR, ".download-png").click()
    wait.until(downloaded(downloads, "query-1-mask.png"))
    np.testing.assert_array_equal(np.asarray(Image.open(downloads / "query-1-mask.png")) == 1, disc)
    save_screenshots(browser, tmp_path)
    assert not [
        line for line in browser.get_log("browser") if line["level"] == "SEVERE" and "422" not in line["message"]
    ]


def save_screenshots(browser, folder):
    browser.save_screenshot(str(folder / "desktop.png"))
    phone(browser)
    overflow = browser.execute_script("return document.documentElement.scrollWidth - window.innerWidth")
    assert overflow <= 0, "the page is wider than a phone"
    height = browser.execute_script("return document.documentElement.scrollHeight")
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 375, "height": height, "deviceScaleFactor": 1, "mobile": True}
    )
    browser.save_screenshot(str(folder / "phone.png"))


def test_threshold_hides_masks_and_counts_in_downloads(served, browser, tmp_path):
    path, _ = scene(tmp_path / "q.png", 1, 120, 100)
    wait = WebDriverWait(browser, 30)
    browser.get(served.url)
    for number, name in enumerate(("fox", "bear")):
        if number:
            browser.find_element(By.ID, "add-class").click()
        group = browser.find_elements(By.CSS_SELECTOR, ".class")[number]
        group.find_element(By.CSS_SELECTOR, ".class-name").send_keys(name)
        group.find_element(By.CSS_SELECTOR, "input[type=file]").send_keys(str(path))
    browser.find_element(By.ID, "pictures").send_keys(str(path))
    wait.until(lambda b: "1 of 1 annotated." in b.find_element(By.ID, "status").text)
    verdicts = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".verdict")]
    assert verdicts == ["found", "absent"]  # the dry run finds the first class alone
    slider = browser.find_element(By.ID, "threshold")
    slider.send_keys(Keys.HOME)
    verdicts = [item.text for item in browser.find_elements(By.CSS_SELECTOR, ".verdict")]
    assert verdicts == ["found", "found"]


def test_saved_sets_can_be_used_again(served, browser, tmp_path):
    path, _ = scene(tmp_path / "q.png", 2, 120, 100)
    wait = WebDriverWait(browser, 30)
    browser.get(served.url)
    browser.find_element(By.CSS_SELECTOR, ".class-name").send_keys("kite")
    browser.find_element(By.CSS_SELECTOR, ".class input[type=file]").send_keys(str(path))
    browser.find_element(By.ID, "save-set").click()
    name = f"kites-{time.time_ns()}"
    browser.find_element(By.ID, "set-name").send_keys(name, Keys.ENTER)
    wait.until(lambda b: f"Saved as {name}." in b.find_element(By.ID, "status").text)
    assert served.http.get(f"/v1/exemplar-sets/{name}").json()["classes"][0]["name"] == "kite"
    browser.find_element(By.ID, "pictures").send_keys(str(path))
    wait.until(lambda b: "1 of 1 annotated." in b.find_element(By.ID, "status").text)


def test_page_and_docs_ask_nobody_else(served, browser):
    for page in ("/", "/docs"):
        browser.get(served.url + page)
        WebDriverWait(browser, 15).until(lambda b: b.execute_script("return document.readyState") == "complete")
        names = browser.execute_script("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert all(name.startswith(served.url) for name in names)
