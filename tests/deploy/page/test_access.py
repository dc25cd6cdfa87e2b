"""axe finds nothing serious at three widths, light and dark; targets are large; no foreign asset is asked for."""

import pytest
from selenium.webdriver.common.keys import Keys

from tests.servers import axe

pytestmark = pytest.mark.cluster
WIDTHS = (360, 1280, 1920)
SMALL_TARGETS = """
return [...document.querySelectorAll('button, a, input:not([type=file]), select, summary')].filter((one) => {
  const box = one.getBoundingClientRect();
  const label = one.type === 'checkbox' ? one.closest('label') : null;
  const around = (label || one).getBoundingClientRect();
  const isSeen = box.width && getComputedStyle(one).visibility !== 'hidden' && !one.classList.contains('skip');
  return isSeen && one.closest('p') === null && (around.height < 43.5 || around.width < 43.5);
}).map((one) => one.outerHTML.slice(0, 120));
"""

COVERED = """
const place = document.querySelector(arguments[0]), buttons = [...place.querySelectorAll('button')];
return [...place.querySelectorAll('b, span')].filter((text) => text.textContent && buttons.some((button) => {
  const a = text.getBoundingClientRect(), b = button.getBoundingClientRect();
  return a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
})).map((text) => text.textContent);
"""


@pytest.fixture(scope="module")
def script():
    try:
        return axe.source()
    except axe.Unavailable as error:
        pytest.skip(str(error))


def serious(browser, script, where):
    """In every width and scheme, and that nothing is wider than its window."""
    found = []
    for width in WIDTHS:
        for dark in (False, True):
            browser.size(width, 900, dark)
            browser.script("document.getElementById('message').matches(':popover-open') || 0")
            found += [
                f"{where} {width} {'dark' if dark else 'light'} {line}"
                for line in axe.violations(browser, script)
                if line.startswith(("serious", "critical"))
            ]
            if browser.script("return document.documentElement.scrollWidth > innerWidth"):
                found.append(f"{where} is wider than {width}")
    browser.size(360)
    found += [f"{where}: small target {html}" for html in browser.script(SMALL_TARGETS)]
    browser.size(1280)
    return found


def test_axe_finds_nothing_serious_in_what_lies_over_the_page(endpoint, with_exemplars, browser, script):
    """The list of keys, an exemplar large, the stored sets."""
    with_exemplars(endpoint)
    found = []
    browser.click("#show-shortcuts")
    found += serious(browser, script, "keys")
    browser.click("#shortcuts .primary")
    browser.click(".thumbs .open")
    browser.until(lambda: browser.script("return document.querySelector('#drawer canvas')?.width > 300"), "it is drawn")
    found += serious(browser, script, "exemplar")
    browser.click("#drawer .primary")
    browser.click("#save-set")
    browser.one("#asked-text").send_keys("a-name-that-needs-its-room", Keys.ENTER)
    browser.until_message("Saved as")
    browser.click("#open-set")
    browser.until(lambda: browser.all("#sets-dialog[open] li"), "the list is open")
    browser.until(lambda: not browser.message(), "what was said before is put away")
    found += serious(browser, script, "sets")
    browser.size(360)
    found += [f"a button lies over {text}" for text in browser.script(COVERED, "#sets-dialog")]
    assert not found, "\n".join(found)


def test_axe_finds_nothing_serious(endpoint, with_exemplars, browser, discs, script, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"not an image")
    browser.open(endpoint.url)
    found = serious(browser, script, "empty")
    with_exemplars(endpoint)
    browser.choose("#pictures", [*discs(4, "query"), broken])
    browser.until_message("4 of 5 annotated, 1 failed.")
    browser.script("for (const one of document.querySelectorAll('#annotate-view details')) one.open = true")
    found += serious(browser, script, "annotated")
    browser.click(".tile .picture")
    browser.until(lambda: browser.script("return document.querySelector('.canvas-place .notice').hidden"), "it is open")
    found += serious(browser, script, "viewer")
    browser.click("#viewer-close")
    browser.click("#to-jobs")
    found += serious(browser, script, "jobs")
    browser.open(f"{endpoint.url}/docs")
    browser.script("document.querySelector('#post-v1-annotate summary').click()")
    found += serious(browser, script, "docs")
    assert not found, "\n".join(found)


def test_nobody_else_is_asked_and_nothing_is_refused_by_the_policy(endpoint, with_exemplars, browser):
    with_exemplars(endpoint)
    for path in ("/", "/docs"):
        browser.open(endpoint.url + path)
        names = browser.script("return performance.getEntriesByType('resource').map((one) => one.name)")
        assert all(name.startswith((endpoint.url, "blob:")) for name in names)
    assert not browser.errors()


def test_the_checker_sees_what_is_wrong(endpoint, browser, script):
    browser.open(endpoint.url)
    browser.script("document.querySelector('main').append(Object.assign(new Image(), {src: '/ui/icon.svg'}))")
    assert any("image-alt" in line for line in axe.violations(browser, script))


def test_a_mask_is_mended_and_judged_by_keyboard_alone(endpoint, with_exemplars, browser, discs):
    with_exemplars(endpoint)
    browser.choose("#pictures", discs(2, "query"))
    browser.until_message("2 of 2 annotated.")
    browser.one("body").send_keys("f")  # to the pictures
    focused = browser.driver.switch_to.active_element
    assert "query-000.png" in focused.get_attribute("aria-label")
    focused.send_keys(Keys.ARROW_RIGHT)
    focused = browser.driver.switch_to.active_element
    assert "query-001.png" in focused.get_attribute("aria-label")
    focused.send_keys(Keys.ENTER)
    browser.until(lambda: browser.script("return document.querySelector('.canvas-place .notice').hidden"), "it is open")
    canvas = browser.driver.switch_to.active_element
    canvas.send_keys("b", " ", *[Keys.ARROW_DOWN] * 5, " ")
    browser.until(lambda: browser.texts("#viewer .classes .chip") == ["mended"], "the mask is mended")
    canvas.send_keys("z")
    browser.until(lambda: browser.texts("#viewer .classes .chip") == ["found"], "it is undone")
    canvas.send_keys("v", "a")
    browser.until(lambda: browser.texts("#viewer .classes .chip") == ["accepted"], "it is accepted")
    canvas.send_keys(Keys.ESCAPE)
    browser.until(lambda: not browser.one("#viewer").is_displayed(), "the view is closed")
    assert "query-001.png" in browser.driver.switch_to.active_element.get_attribute("aria-label")
