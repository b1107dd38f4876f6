"""The trace page in headless Chromium: display, controls, accessibility and safety."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reason_decode.core.solutions import Candidate, Trace
from reason_decode.viewer import TraceEntry, render_page
from tests.viewer.traces import HOSTILE, best_of, search, vote

webdriver: Any = pytest.importorskip(
    "selenium.webdriver", reason="pip install 'reason-decode[browser]' to test the page"
)
ui: Any = pytest.importorskip("selenium.webdriver.support.ui")
exceptions: Any = pytest.importorskip("selenium.common.exceptions")
for program in ("chromium", "chromedriver"):
    if shutil.which(program) is None:
        pytest.skip(
            f"no {program}: apt-get install chromium chromium-driver, or make browser",
            allow_module_level=True,
        )

Open = Callable[..., Any]
TRACES = [
    TraceEntry(search(), id="first", correct=True, target="24"),
    TraceEntry(vote({"7": 3, "8": 1}, {"7": 3.0, "8": 1.0}), id="second", correct=False),
    TraceEntry(best_of(("needle", "hay")), id="third"),
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    # As root in a container Chromium's own sandbox cannot start, and /dev/shm is small.
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    service = webdriver.ChromeService(shutil.which("chromedriver"))
    driver = webdriver.Chrome(options=options, service=service)
    yield driver
    driver.quit()


@pytest.fixture
def opened(chromium: Any, tmp_path: Path) -> Iterator[Open]:
    """Opens a page of traces; after the test the browser's log must be empty."""

    def show(
        traces: Any, *, width: int = 1280, dark: bool = False, at: str = "", **how: Any
    ) -> Any:
        path = tmp_path / "page.html"
        path.write_text(render_page(traces, **how), encoding="utf-8")
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
        chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
        chromium.get("about:blank")
        chromium.get(path.as_uri() + at)
        return chromium

    yield show
    assert [entry["message"] for entry in chromium.get_log("browser")] == []


def find(driver: Any, selector: str) -> list[Any]:
    return [x for x in driver.find_elements("css selector", selector) if x.is_displayed()]


def texts(driver: Any, selector: str) -> list[str]:
    return [element.text for element in find(driver, selector)]


def press(driver: Any, *keys: str) -> None:
    webdriver.ActionChains(driver).send_keys(*keys).perform()


def wait(driver: Any, until: Callable[[], bool]) -> None:
    # The list may be redrawn between two looks at it.
    stale = [exceptions.StaleElementReferenceException]
    ui.WebDriverWait(driver, 10, 0.05, stale).until(lambda _: until())


def focused(driver: Any) -> str:
    return driver.execute_script(
        "return document.activeElement.querySelector('.line-text')?.textContent"
    )


def background(driver: Any) -> int:
    """Brightness of the page's background, 0 to 255."""
    colour = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
    return int(colour.partition("(")[2].split(",")[0])


def test_a_page_opens_with_its_list_and_its_first_trace(opened: Open):
    driver = opened(TRACES, title="Three", rejected=[])
    assert texts(driver, "#title") == ["Three"]
    assert texts(driver, "#summary") == ["3 traces · 1 of 2 right (50.0 %)"]
    assert texts(driver, ".row .id") == ["first", "second", "third"]
    assert texts(driver, "#heading") == ["first"]
    assert texts(driver, ".steps .line-text") == ["a", "af"]
    assert texts(driver, ".steps .chip") == ["0.50", "0.95"]
    assert len(find(driver, ".dot.chosen")) == 2 and len(find(driver, ".dot")) == 8


def test_branches_open_and_close(opened: Open):
    driver = opened(TRACES)
    steps = ["a", "af", "b", "bd", "bdg", "bdh", "be", "c"]
    assert texts(driver, ".tree .line-text") == steps
    (branch,) = (x for x in find(driver, ".tree .item.kept") if x.text.split("\n")[2:3] == ["b"])
    branch.find_element("css selector", ".line").click()
    assert texts(driver, ".tree .line-text") == ["a", "af", "b", "c"]
    assert branch.get_attribute("aria-expanded") == "false"
    open_all, close_all = find(driver, ".aside button")
    close_all.click()
    assert texts(driver, ".tree .line-text") == ["a", "b", "c"]
    open_all.click()
    assert texts(driver, ".tree .line-text") == steps


def test_many_dropped_steps_are_folded_and_the_map_opens_them(opened: Open):
    trace = search()
    more = tuple(
        type(trace.rounds[0][2])(f"no {k}", k / 100, k / 100, None, False, False, 1)
        for k in range(9)
    )
    wide = Trace(
        "p", "StepSearch", trace.candidates, (0,), ((*trace.rounds[0], *more), *trace.rounds[1:])
    )
    driver = opened([wide])
    assert texts(driver, ".rest > .line") == ["▸\n10 dropped · best\n0.10"]
    assert "no 4" not in texts(driver, ".tree .line-text")
    (dot,) = (
        x
        for x in find(driver, ".dot")
        if "no 4" in x.find_element("css selector", "title").get_attribute("textContent")
    )
    webdriver.ActionChains(driver).click(dot).perform()
    assert focused(driver) == "no 4" and "no 4" in texts(driver, ".tree .line-text")


def test_search_and_filters_narrow_the_list(opened: Open):
    driver = opened(TRACES)
    (box,) = find(driver, "#search")
    box.send_keys("NEEDLE")
    wait(driver, lambda: texts(driver, "#count") == ["1 of 3 traces"])
    assert texts(driver, ".row .id") == ["third"]
    box.clear()
    box.send_keys("no such text")
    wait(driver, lambda: texts(driver, "#count") == ["0 of 3 traces"])
    box.clear()
    box.send_keys(" ")
    wait(driver, lambda: len(texts(driver, ".row")) == 3)
    driver.execute_script("document.querySelector('[name=verdict][value=wrong]').click()")
    assert texts(driver, ".row .id") == ["second"]
    driver.execute_script("document.querySelector('[name=verdict][value=all]').click()")
    ui.Select(find(driver, "#strategy")[0]).select_by_visible_text("BestOfN")
    assert texts(driver, ".row .id") == ["third"]


def test_votes_are_a_table(opened: Open):
    driver = opened(TRACES, at="#2")
    rows = [row.split() for row in texts(driver, ".votes tbody tr")]
    assert rows == [["7", "✓", "chosen", "3", "3", "75", "%"], ["8", "1", "1", "25", "%"]]


def test_keyboard_navigation(opened: Open):
    driver = opened(TRACES)
    keys = webdriver.Keys
    press(driver, "j")
    assert texts(driver, "#heading") == ["second"]
    press(driver, "k", "/")
    assert driver.switch_to.active_element.get_attribute("id") == "search"
    press(driver, "j")
    assert texts(driver, "#heading") == ["first"]
    press(driver, keys.BACKSPACE, keys.ESCAPE, keys.ARROW_DOWN, keys.END, keys.HOME, keys.ENTER)
    assert driver.switch_to.active_element.get_attribute("id") == "heading"
    driver.execute_script("document.querySelector('.tree [tabindex=\"0\"]').focus()")
    assert focused(driver) == "a"
    press(driver, keys.ARROW_RIGHT)
    assert focused(driver) == "af"
    press(driver, keys.ARROW_DOWN, keys.ARROW_LEFT, keys.ARROW_DOWN)
    assert focused(driver) == "c"
    press(driver, keys.HOME, keys.END, keys.ARROW_UP, keys.ENTER, keys.ARROW_RIGHT)
    assert focused(driver) == "bd"
    press(driver, "?")
    assert find(driver, "dialog[open]")
    press(driver, keys.ESCAPE)
    assert not find(driver, "dialog[open]")


def test_accessible_roles_and_names(opened: Open):
    driver = opened(TRACES)
    items = find(driver, "[role=treeitem]")
    assert [x.get_attribute("aria-level") for x in items] == list("12123321")
    assert len(find(driver, "[role=treeitem][tabindex='0']")) == 1
    (row,) = find(driver, "[role=option][aria-selected=true]")
    assert find(driver, "#rows")[0].get_attribute("aria-activedescendant") == row.get_attribute(
        "id"
    )
    nameless = [
        element.get_attribute("outerHTML")
        for element in find(driver, "button, input, select, [role=tree], [role=listbox]")
        if not element.accessible_name
    ]
    assert nameless == []


CONTRAST = """
const light = (c) => { c /= 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
const rgba = (text) => text.match(/[\\d.]+/g).map(Number);
const luminance = ([r, g, b]) => 0.2126 * light(r) + 0.7152 * light(g) + 0.0722 * light(b);
const paper = (at) => {
  const colour = rgba(getComputedStyle(at).backgroundColor);
  return colour[3] === 0 ? paper(at.parentElement) : colour;
};
const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
const faint = [];
while (walker.nextNode()) {
  const at = walker.currentNode.parentElement;
  if (!walker.currentNode.data.trim() || !at.checkVisibility() || at.closest("svg")) continue;
  const pair = [luminance(rgba(getComputedStyle(at).color)), luminance(paper(at))];
  const ratio = (Math.max(...pair) + 0.05) / (Math.min(...pair) + 0.05);
  if (ratio < 4.5) faint.push(`${ratio.toFixed(2)} ${at.className} ${walker.currentNode.data}`);
}
return faint;
"""


@pytest.mark.parametrize("dark", [False, True])
def test_themes_follow_the_system_and_have_enough_contrast(opened: Open, dark: bool):
    # One candidate for each shade of the scale.
    shades = tuple(Candidate(f"t{k}", (f"t{k}",), (k / 10,), k / 10) for k in range(11))
    driver = opened([*TRACES, Trace("p", "BestOfN", shades, (10,))], dark=dark)
    assert (background(driver) < 60) == dark
    for k in range(4):
        assert driver.execute_script(CONTRAST) == [], k
        press(driver, "j")
    (switch,) = find(driver, "#theme")
    assert switch.accessible_name == "Theme: auto"
    switch.click()
    assert switch.accessible_name == "Theme: light" and background(driver) > 200
    switch.click()
    assert switch.accessible_name == "Theme: dark" and background(driver) < 60
    switch.click()
    assert (background(driver) < 60) == dark


def test_narrow_screens_show_list_or_trace_without_overflow(opened: Open):
    long = "averylongwordwithoutanyspace" * 40
    driver = opened([*TRACES, best_of((long, "a"), prompt=long)], width=390)
    wide = "return document.documentElement.scrollWidth"
    assert not find(driver, "main") and driver.execute_script(wide) == 390
    for k in range(4):
        find(driver, ".row")[k].click()
        assert not find(driver, "#rows") and driver.execute_script(wide) == 390
        main = driver.execute_script("return document.querySelector('main').scrollWidth")
        assert main <= 390
        find(driver, ".back")[0].click()
    assert find(driver, "#rows")


def test_hostile_text_is_shown_and_not_run(opened: Open):
    traces = [
        TraceEntry(best_of(HOSTILE, prompt=text, strategy=text), id=text, target=text, run=k)
        for k, text in enumerate(HOSTILE)
    ]
    runs = [{"file": text, text: text, "cost": {text: {text: 1}}} for text in HOSTILE]
    driver = opened(traces, runs=runs, title=HOSTILE[1])
    driver.execute_script(
        "window.asked = []; new PerformanceObserver(list => asked.push(...list.getEntries()))"
        ".observe({type: 'resource', buffered: true})"
    )
    (box,) = find(driver, "#search")
    box.send_keys("<img src=x")
    wait(driver, lambda: texts(driver, "#count") == ["10 traces"])
    for k, text in enumerate(HOSTILE):
        shown = driver.execute_script("return document.querySelector('.prompt').textContent")
        assert shown == text or k in (5, 6, 7)
        for part in find(driver, "details"):
            part.find_element("css selector", "summary").click()
        press(driver, webdriver.Keys.ESCAPE, "j")
    assert driver.execute_script("return [window.hacked ?? null, asked.length]") == [None, 0]
    assert driver.execute_script("return document.querySelectorAll('img').length") == 0
    assert driver.execute_script("return document.scripts.length") == 3


def test_hidden_characters_are_shown_as_code_points(opened: Open):
    driver = opened([best_of((HOSTILE[5], HOSTILE[6], HOSTILE[7]))])
    signs = driver.execute_script(
        "return [...document.querySelectorAll('.tree .hidden-sign')].map(x => x.textContent)"
    )
    expected = ["U+202E", "U+202C", "U+0000", "U+0007", "U+D800", "U+DC00"]
    assert list(dict.fromkeys(signs)) == expected
    assert "whole \U0001f600" in find(driver, ".tree")[0].text


def test_long_texts_are_cut_off_until_expanded(opened: Open):
    driver = opened([best_of(("x" * 1_000_000, "y"))])
    length = "return document.querySelector('.steps').textContent.length"
    assert driver.execute_script(length) < 10_000
    (button, *_) = find(driver, ".steps button")
    assert button.text == "Show all 1,000,000 characters"
    button.click()
    assert driver.execute_script(length) >= 1_000_000


def test_a_single_trace_has_no_list(opened: Open):
    driver = opened([search()])
    assert not find(driver, "#list") and find(driver, "main") and not find(driver, ".back")


def test_works_inside_a_notebook_frame(opened: Open, tmp_path: Path):
    driver = opened(TRACES)
    path = tmp_path / "notebook.html"
    path.write_text(f"<!doctype html><meta charset=utf-8><p>cell</p>{search()._repr_html_()}")
    driver.get(path.as_uri())
    driver.switch_to.frame(0)
    assert texts(driver, ".steps .line-text") == ["a", "af"]
    driver.switch_to.default_content()
    assert driver.execute_script("return document.querySelectorAll('*').length") < 10


def test_five_thousand_traces_open_within_two_seconds(opened: Open):
    """The page of a run of a benchmark's size opens without a noticeable wait."""
    texts_of = [tuple(f"step {i}: {k} * {i} = {k * i}" for i in range(16)) for k in range(5000)]
    driver = opened([TraceEntry(best_of(one), id=k) for k, one in enumerate(texts_of)])
    ready = float(driver.execute_script("return document.documentElement.dataset.ready"))
    wait(driver, lambda: texts(driver, "#count") == ["5,000 traces"])
    assert len(driver.find_elements("css selector", ".row")) < 40
    press(driver, webdriver.Keys.TAB)
    driver.execute_script("document.getElementById('rows').scrollTop = 84 * 4990")
    wait(driver, lambda: "4995" in texts(driver, ".row .id"))
    # Two seconds on an idle machine; tests run beside others.
    assert ready < 6000, f"{ready} ms"


def test_a_screenshot_is_not_blank(opened: Open):
    driver = opened(TRACES)
    picture = driver.get_screenshot_as_png()
    assert picture.startswith(b"\x89PNG") and len(picture) > 20_000
