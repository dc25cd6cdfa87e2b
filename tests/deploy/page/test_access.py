"""axe finds nothing serious at three widths, light and dark; targets are large; no foreign asset is asked for."""

import pytest

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
