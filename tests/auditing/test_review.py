"""The review page in a real browser: keys, mouse, filters, hostile texts, two pages, a kill."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noisy_xmodal.arguments.review import ReviewOptions
from noisy_xmodal.auditing.review import serve
from noisy_xmodal.auditing.reviews import read_reviews
from noisy_xmodal.entry.options import OptionError
from review_pages import HOSTILE, SUGGESTED, hostile_audit

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
FLAGS = [
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]
SOURCES = Path(__file__).parents[2] / "src"


def needs(module: str) -> Any:
    return pytest.importorskip(module, reason=f"{module} is not installed")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium on the path (Debian: apt-get install chromium)")
    needs("gradio")
    api = needs("playwright.sync_api")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("review")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", folder / "cache")
        yield folder


@pytest.fixture(scope="module")
def served(place: Path) -> Iterator[tuple[ReviewOptions, str]]:
    needs("gradio")
    options = hostile_audit(place)
    page, url = serve(options)
    yield options, url
    page.close(verbose=False)


class Visit:
    """A page in a browser, and the requests that it makes."""

    def __init__(self, browser: Any, url: str, **options: Any) -> None:
        self.tab = browser.new_page(**options)
        self.tab.set_default_timeout(60_000)
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.tab.on("request", lambda request: self.requests.append(request.url))
        self.tab.on("pageerror", lambda error: self.errors.append(str(error)))
        self.tab.goto(url)
        self.wait("place 1 of 7")

    def wait(self, text: str, where: str = "#card") -> None:
        check = "([where, text]) => document.querySelector(where)?.innerText.includes(text)"
        self.tab.wait_for_function(check, arg=[where, text])

    def press(self, key: str, then: str, where: str = "#card") -> None:
        self.tab.keyboard.press(key)
        self.wait(then, where)

    def caption(self) -> str:
        return str(self.tab.text_content("#card .caption"))


@pytest.fixture
def visit(browser: Any, served: tuple[ReviewOptions, str]) -> Iterator[Visit]:
    options, url = served
    options.reviews_file.unlink(missing_ok=True)
    visit = Visit(browser, url)
    yield visit
    assert visit.errors == []
    assert visit.tab.evaluate("window.hit") is None
    assert all(address.startswith((url, "data:")) for address in visit.requests)
    visit.tab.close()


def kept(options: ReviewOptions) -> list[tuple[str, str, str | None]]:
    names = ("caption", "decision", "new_caption")
    return [
        tuple(row[name] for name in names) for row in read_reviews(options.reviews_file).to_pylist()
    ]


def test_keys_and_mouse(visit: Visit, served: tuple[ReviewOptions, str]) -> None:
    tab, (options, _) = visit.tab, served
    tab.fill("#reviewer input, #reviewer textarea", "<b>Ann</b>")
    tab.keyboard.press("w")  # in a text box a letter is a letter
    tab.keyboard.press("Escape")
    visit.press("s", "place 2 of 7")
    tab.click("#wrong")
    visit.wait("place 3 of 7")
    visit.press("r", "place 4 of 7")
    visit.press("e", "place 4 of 7")
    tab.keyboard.type("a new <i>caption</i>")
    tab.keyboard.press("Enter")
    visit.wait("place 5 of 7")
    tab.fill("#new_caption textarea", "by mouse")
    tab.click("#save")
    visit.wait("place 6 of 7")
    made = [
        (HOSTILE[0], "corrected", HOSTILE[-1]),
        (HOSTILE[1], "wrong", None),
        (HOSTILE[2], "right", None),
        (HOSTILE[3], "corrected", "a new <i>caption</i>"),
        (HOSTILE[4], "corrected", "by mouse"),
    ]
    assert kept(options) == made
    assert set(read_reviews(options.reviews_file)["reviewer"].to_pylist()) == {"<b>Ann</b>w"}
    visit.wait("Of 5 reviewed among the worst 7, 80% (38 to 96) were wrong.", "#progress")
    assert tab.is_disabled("#suggested")
    tab.keyboard.press("Escape")
    tab.evaluate("document.activeElement.blur()")
    visit.press("u", "place 5 of 7")
    visit.wait("Of 4 reviewed", "#progress")
    tab.click("#undo")
    visit.wait("place 4 of 7")
    assert [row[1] for row in kept(options)[5:]] == ["undo", "undo"]
    visit.press("j", "place 5 of 7")
    visit.press("ArrowRight", "place 6 of 7")
    visit.press("k", "place 5 of 7")
    tab.keyboard.press("Control+u")  # the browser's own
    tab.reload()
    visit.wait("place 4 of 7")
    assert len(kept(options)) == 7
    tab.click("label:has-text('reviewed') >> text=/^reviewed$/")
    visit.wait("by <b>Ann</b>w")
    visit.press("u", "place 1 of 7")  # of an earlier visit: what is shown is undone
    visit.wait("Undone.", "#progress")
    assert len(kept(options)) == 8


def test_search_and_order(visit: Visit) -> None:
    tab = visit.tab
    visit.press("/", "place 1 of 7")
    tab.keyboard.type("IFRAME")
    visit.wait("place 7 of 7")
    tab.keyboard.press("Escape")
    visit.press("j", "place 7 of 7")  # the only one
    tab.fill("#search textarea, #search input", "")
    visit.wait("place 1 of 7")
    tab.click("text=most telling first")
    visit.wait("place 4 of 7")
    tab.fill("#among input", "2")
    visit.wait("1 of 2", "#progress")
    tab.fill("#among input", "")
    visit.wait("1 of 7", "#progress")


def test_hostile_texts_are_text(visit: Visit) -> None:
    tab = visit.tab
    for number, text in enumerate(HOSTILE, 1):
        visit.wait(f"place {number} of 7")
        assert visit.caption() == text.replace("\u202e", "\ufffd")
        assert tab.text_content("#card .facts bdi") == f"{text}.jpg".replace("\u202e", "\ufffd")
        assert tab.input_value("#new_caption textarea") == text
        assert tab.locator("#card").locator("script, svg, iframe, a, b b, code").count() == 0
        assert tab.evaluate("document.querySelector('#card .photo img').naturalWidth") == 30
        if number < len(HOSTILE):
            tab.keyboard.press("j")
    tab.fill("#search textarea, #search input", HOSTILE[0])
    visit.wait("place 1 of 7")
    tab.fill("#new_caption textarea", SUGGESTED)
    tab.click("#save")
    visit.wait("No pair is left here.")
    tab.click("text=corrected")
    visit.wait(SUGGESTED)


def test_two_servers_with_one_file(
    browser: Any, visit: Visit, served: tuple[ReviewOptions, str]
) -> None:
    options, _ = served
    page, url = serve(options)
    other = Visit(browser, url)
    other.press("w", "place 2 of 7")
    visit.press("r", "place 2 of 7")  # it showed the same pair
    visit.wait("Of 1 reviewed", "#progress")
    other.press("w", "place 3 of 7")
    visit.press("j", "place 3 of 7")  # the second pair is reviewed by now
    visit.wait("Of 2 reviewed among the worst 7, 50%", "#progress")
    other.press("u", "place 2 of 7")
    other.press("u", "place 1 of 7")  # its own decision, not the last one about the pair
    assert [row[1] for row in kept(options)] == ["wrong", "right", "wrong", "undo", "undo"]
    other.wait("Reviewed: right")
    other.tab.close()
    page.close(verbose=False)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_widths_and_schemes(browser: Any, served: tuple[ReviewOptions, str], scheme: str) -> None:
    options, url = served
    options.reviews_file.unlink(missing_ok=True)
    visit = Visit(browser, url, color_scheme=scheme)
    tab = visit.tab
    for width in (400, 800, 1600):
        tab.set_viewport_size({"width": width, "height": 900})
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        for name in ("wrong", "right", "suggested", "undo", "previous", "next", "save"):
            box = tab.locator(f"#{name}").bounding_box()
            assert box["x"] >= 0
            assert box["x"] + box["width"] <= width
            assert box["width"] > 80
        tracks = "getComputedStyle(document.querySelector('#card .pair')).gridTemplateColumns"
        columns = [track for track in tab.evaluate(tracks).split() if track != "0px"]
        assert len(columns) == (2 if width == 1600 else 1)
    ink, page = (
        tab.evaluate(f"getComputedStyle(document.querySelector('{name}')).{style}")
        for name, style in (("#card .caption", "color"), ("body", "backgroundColor"))
    )
    dark, light = (sum(map(int, text.strip("rgba()").split(",")[:3])) for text in (ink, page))
    assert (dark < 200 < 600 < light) if scheme == "light" else (light < 200 < 600 < dark)
    tab.close()


def test_the_server_gives_no_files(served: tuple[ReviewOptions, str]) -> None:
    options, url = served
    assert url.startswith("http://127.0.0.1:")
    for path in (options.table, Path("/etc/passwd"), Path(__file__)):
        with pytest.raises(urllib.error.HTTPError) as error:
            urllib.request.urlopen(f"{url}gradio_api/file={path}")
        assert error.value.code in (403, 404)


def test_a_killed_server_loses_nothing(browser: Any, place: Path) -> None:
    options = hostile_audit(place / "killed")
    words = ["review", str(options.table), options.dataset_name, "--reviewer", "Bo"]
    command = [sys.executable, "-m", "noisy_xmodal.cli", *words]
    environment = os.environ | {"PYTHONPATH": str(SOURCES), "HF_HUB_OFFLINE": "1"}
    environment |= {"HF_DATASETS_CACHE": str(place / "cache")}
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        assert server.stderr is not None
        line = next(line for line in server.stderr if "shows the pairs" in line)
        visit = Visit(browser, line.split()[0])
        visit.press("w", "place 2 of 7")
        visit.press("r", "place 3 of 7")
    finally:
        server.send_signal(signal.SIGKILL)
        server.wait(timeout=20)
    assert [row[1] for row in kept(options)] == ["wrong", "right"]
    visit.tab.keyboard.press("w")
    time.sleep(0.5)
    assert "place 3 of 7" in visit.tab.inner_text("#card")
    assert len(kept(options)) == 2
    visit.tab.close()
    page, url = serve(options)  # goes on
    again = browser.new_page()
    again.goto(url)
    again.wait_for_selector("#card .caption")
    assert again.text_content("#card .caption") == HOSTILE[2]
    again.close()
    page.close(verbose=False)


def test_without_gradio_a_line_says_what_to_install(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "gradio", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'noisy-xmodal\[review\]'"):
        serve(hostile_audit(place / "without"))


def test_gradio_is_imported_by_one_module() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py")}
    importing = [path.name for path, text in texts.items() if "import gradio" in text]
    assert importing == ["review.py"]


def test_options_out_of_range_are_refused() -> None:
    for name, value in (("order", "best first"), ("among", 0), ("port", 70_000)):
        with pytest.raises(OptionError, match=f"--{name} is"):
            ReviewOptions(Path("a.parquet"), "photos", **{name: value})
