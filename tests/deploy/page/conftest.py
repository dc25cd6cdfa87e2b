"""The page in a real browser, in front of the whole endpoint in this process."""

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("selenium.webdriver", reason="selenium is not installed")

from tests.servers import browser as browsers
from tests.servers.endpoint import Endpoint

ORANGE, BLUE = (235, 150, 60), (60, 90, 230)


def scene(path, seed=0, left=160, top=110, size=(320, 220), colour=ORANGE):
    """A bright disc on a dark meadow; gives the path and where the disc is."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[: size[1], : size[0]]
    pixels = np.array((15, 45, 20)) + rng.integers(0, 12, (size[1], size[0], 3))
    disc = (columns - left) ** 2 + (rows - top) ** 2 < 45**2
    pixels[disc] = colour
    Image.fromarray(pixels.astype(np.uint8)).save(path)
    return path, disc


@pytest.fixture
def browser(programs, tmp_path):
    with browsers.started(programs, tmp_path) as made:
        yield made


@pytest.fixture
def make_endpoint(tmp_path):
    """`make_endpoint(model="tlg-tiny")`; several at once have stores of their own."""
    opened = []

    def make(**settings):
        folder = tmp_path / f"endpoint-{len(opened)}"
        folder.mkdir()
        opened.append(Endpoint(folder, **settings).__enter__())
        return opened[-1]

    yield make
    for endpoint in opened:
        endpoint.__exit__()


@pytest.fixture
def endpoint(make_endpoint):
    """The rehearsal model: the first class of a set is everything bright."""
    return make_endpoint()


@pytest.fixture
def discs(tmp_path):
    """`discs(5)` are paths of as many pictures of an orange disc."""

    def made(count, name="disc", **changes):
        return [
            scene(tmp_path / f"{name}-{number:03}.png", number, 70 + 7 * number % 180, **changes)[0]
            for number in range(count)
        ]

    return made


@pytest.fixture
def with_exemplars(browser, discs):
    """Opens the page with a class of two exemplars."""

    def opened(endpoint, name="orange disc"):
        browser.open(endpoint.url)
        browser.one(".class-name").send_keys(name)
        browser.hand_over(".class .drop", discs(2, "exemplar"))
        browser.until(lambda: len(browser.all(".class .thumbs img[src]")) == 2, "two exemplars are shown")

    return opened
