"""What 300 pictures of 12 megapixels weigh in a browser's tab: `python tests/benchmarks/page_memory.py [COUNT]`.

Browser, page and requests are real. The rehearsal model answers the first picture, and its answer is given for the
others too, as the tab is what is measured: every tile has a mask of 12 megapixels. Every picture is decoded by the
browser, since every tile comes into view; twenty contents come again under other names, which the page takes for other
pictures. Five are looked at large and mended. The figure is the proportional memory of the tab's process, watched five
times a second. Then one picture more is added, and what that sends is counted.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from PIL import Image
from selenium.webdriver.common.keys import Keys

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from deploy.replica.pool import LocalSegmenter, Outcome, Task  # noqa: E402
from tests.servers import browser as browsers  # noqa: E402
from tests.servers import chromium  # noqa: E402
from tests.servers.endpoint import Endpoint  # noqa: E402

SIZE = (4000, 3000)
DIFFERENT = 20
LIMIT_MB = 500
LOOKED_AT = 5
# The pictures whose thumbnails are there, or null while one of them is not.
DRAWN = """
const tiles = [...document.querySelectorAll('.tile')];
if (!tiles.length || tiles.some((tile) => !tile.querySelector('img').naturalWidth)) return null;
return tiles.map((tile) => tile.dataset.id);
"""


def renderers() -> list[int]:
    """Tabs of the browser that this very process started."""
    parents: dict[int, int] = {}
    tabs = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            if b"--type=renderer" in (entry / "cmdline").read_bytes():
                tabs.append(int(entry.name))
        except OSError:
            continue  # it ended meanwhile

    def is_ours(process: int) -> bool:
        while process > 1 and process != os.getpid():
            process = parents.get(process, 0)
        return process == os.getpid()

    return [tab for tab in tabs if is_ours(tab)]


def memory_mb(process: int) -> float:
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("Pss:")), 0.0)


class FirstAnswer(LocalSegmenter):
    """Answers every picture as the first one."""

    first: Outcome | None = None

    def _one(self, task: Task) -> Outcome:
        if self.first is None:
            self.first = super()._one(task)
        return self.first


class Watch(threading.Thread):
    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most, self.now, self.stopped = 0.0, 0.0, threading.Event()

    def run(self) -> None:
        while not self.stopped.wait(0.2):
            self.now = max(map(memory_mb, renderers()), default=0.0)
            self.most = max(self.most, self.now)


def pictures(folder: Path, count: int) -> list[Path]:
    """Files of their own; their contents come again after so many."""
    drawn = [picture(folder / f"{number:03}.jpg", number) for number in range(min(count, DIFFERENT))]
    again = [shutil.copy(drawn[number % DIFFERENT], folder / f"{number:03}.jpg") for number in range(DIFFERENT, count)]
    return [*drawn, *map(Path, again)]


def picture(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 90, (30, 40, 3), dtype=np.uint8)
    small[8:20, 10:26] += 150
    Image.fromarray(small).resize(SIZE, Image.Resampling.BICUBIC).save(path, quality=85)
    return path


def every_tile(browser: browsers.Browser) -> int:
    """Scrolls from end to end, and on only when all that is in view is drawn; how many pictures were."""
    seen: set[str] = set()
    browser.script("scrollTo(0, 0)")
    while True:
        browser.until(lambda: browser.script(DRAWN) is not None, "what is in view is drawn")
        seen.update(browser.script(DRAWN) or [])
        if browser.script("return scrollY + innerHeight >= document.documentElement.scrollHeight - 2"):
            return len(seen)
        browser.script("scrollBy({top: innerHeight, behavior: 'instant'})")


def mend(browser: browsers.Browser) -> str:
    """A stroke on the picture that is open, then the next picture; which one it was."""
    browser.until(lambda: browser.script("return document.querySelector('.canvas-place .notice').hidden"), "it is open")
    canvas, title = browser.one("#viewer canvas"), browser.one("#viewer-title").text
    canvas.send_keys("b", " ", *[Keys.ARROW_RIGHT] * 8, " ")
    browser.until(lambda: "mended" in browser.texts("#viewer .classes .chip"), "it is mended")
    canvas.send_keys("v", "n")
    browser.until(lambda: browser.one("#viewer-title").text != title, "the next one is open")
    return title


def main(count: int) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        *paths, extra = pictures(folder, count + 1)
        total = sum(path.stat().st_size for path in paths) / 1e6
        print(f"{count} pictures of {SIZE[0]}x{SIZE[1]}, {total:.0f} MB", flush=True)
        with (
            Endpoint(folder, segmenter=FirstAnswer) as endpoint,
            browsers.started(chromium.find_or_install(), folder) as browser,
        ):
            watch = Watch()
            watch.start()
            browser.open(endpoint.url)
            print(f"empty page: {watch.now:.0f} MB", flush=True)
            browser.one(".class-name").send_keys("bright")
            browser.choose(".class input[type=file]", paths[:1])
            began = time.monotonic()
            browser.choose("#pictures", paths)
            browser.until_message(f"{count} of {count} annotated.", 1400)
            print(f"answered in {time.monotonic() - began:.0f} s, most so far {watch.most:.0f} MB", flush=True)
            began = time.monotonic()
            seen = every_tile(browser)
            print(f"{seen} thumbnails in {time.monotonic() - began:.0f} s, most so far {watch.most:.0f} MB", flush=True)
            browser.click(".tile .picture")
            mended = [mend(browser) for _ in range(LOOKED_AT)]
            browser.script("document.querySelector('#viewer-close').click()")
            print(f"{len(mended)} pictures looked at and mended, most so far {watch.most:.0f} MB", flush=True)
            sent = len(endpoint.requests)
            browser.choose("#pictures", [extra])
            browser.until_message("1 of 1 annotated.")
            watch.stopped.set()
            posts = [request for request in endpoint.requests[sent:] if request[0] != "GET"]
            for method, path, size in posts:
                print(f"one picture of {extra.stat().st_size:,} bytes more: {method} {path}, {size:,} bytes")
            print(f"after scrolling and looking: now {watch.now:.0f} MB, most {watch.most:.0f} MB, limit {LIMIT_MB} MB")
            return watch.most > LIMIT_MB or len(posts) != 1 or seen != count


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 300))
