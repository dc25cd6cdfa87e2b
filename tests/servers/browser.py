"""Chromium as the tests of the page drive it: started, sized, handed files, photographed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.servers import chromium

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
# WebDriver cannot drag from outside the browser: an input takes the files, then says that they were dropped or pasted.
HAND_OVER = """
const [target, kind] = arguments, input = document.createElement('input');
input.type = 'file'; input.multiple = true;
input.addEventListener('change', () => {
  const data = new DataTransfer(); for (const file of input.files) data.items.add(file);
  const init = {bubbles: true, cancelable: true};
  const event = kind === 'drop' ? new DragEvent('drop', {...init, dataTransfer: data})
    : new ClipboardEvent('paste', {...init, clipboardData: data});
  input.remove();
  target.dispatchEvent(event);
});
input.style.position = 'fixed'; document.body.append(input); return input;
"""
SECONDS = 60


@contextmanager
def started(programs: chromium.Chromium, folder: Path) -> Iterator[Browser]:
    options = webdriver.ChromeOptions()
    options.binary_location = programs.browser
    for flag in [*FLAGS, f"--user-data-dir={folder / 'profile'}", "--window-size=1280,900"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(programs.driver))
    try:
        yield Browser(driver, folder)
    finally:
        driver.quit()


class Browser:
    """A driver, and what the tests ask of it again and again."""

    def __init__(self, driver: Any, folder: Path):
        self.driver, self.downloads = driver, folder / "downloads"
        place = {"behavior": "allow", "downloadPath": str(self.downloads)}
        driver.execute_cdp_cmd("Browser.setDownloadBehavior", place)

    def open(self, url: str) -> None:
        self.driver.get(url)
        self.until(lambda: self.script("return document.body.dataset.ready") == "yes", "the page is ready")

    def script(self, text: str, *arguments: Any) -> Any:
        return self.driver.execute_script(text, *arguments)

    def one(self, selector: str) -> Any:
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector: str) -> list[Any]:
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def texts(self, selector: str) -> list[str]:
        return self.script(
            "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)", selector
        )

    def click(self, selector: str) -> None:
        self.script("arguments[0].scrollIntoView({block: 'center'})", self.one(selector))
        self.one(selector).click()

    def until(self, is_so: Any, what: str, seconds: float = SECONDS) -> None:
        WebDriverWait(self.driver, seconds, 0.1).until(lambda _: is_so(), f"{what}; message: {self.message()}")

    def until_message(self, text: str, seconds: float = SECONDS) -> None:
        try:
            WebDriverWait(self.driver, seconds, 0.1).until(lambda _: text in self.message())
        except Exception:
            raise AssertionError(f"expected '{text}', the message is '{self.message()}'; {self.errors()}") from None

    def message(self) -> str:
        return self.script("return document.getElementById('message-text')?.textContent || ''")

    def hand_over(self, selector: str, paths: list[Path], kind: str = "drop") -> None:
        self.script(HAND_OVER, self.one(selector), kind).send_keys("\n".join(map(str, paths)))

    def choose(self, selector: str, paths: list[Path]) -> None:
        self.one(selector).send_keys("\n".join(map(str, paths)))

    def size(self, width: int, height: int = 900, dark: bool = False) -> None:
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 800},
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def photograph(self, path: Path) -> None:
        self.driver.save_screenshot(str(path))

    def downloaded(self, name: str) -> Path:
        """The file, once it is whole."""
        path = self.downloads / name
        self.until(lambda: path.exists() and not list(self.downloads.glob("*.crdownload")), f"{name} is downloaded")
        return path

    def errors(self, allowed: tuple[str, ...] = ()) -> list[str]:
        """What went wrong in the browser since this was last asked."""
        lines = [line["message"] for line in self.driver.get_log("browser") if line["level"] == "SEVERE"]
        return [line for line in lines if not any(part in line for part in allowed)]
