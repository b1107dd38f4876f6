import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from reason_decode.io.read_report import Reject
from reason_decode.viewer import TraceEntry, render_frame, render_page
from tests.viewer.traces import HOSTILE, best_of, search, vote


class Elements(HTMLParser):
    """Tags of a page as an HTML parser sees them, and the contents of its scripts and styles."""

    def __init__(self, text: str):
        super().__init__()
        self.tags: list[tuple[str, dict[str, Any]]] = []
        self.contents: list[str] = []
        self.inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any):
        self.tags.append((tag, dict(attrs)))
        self.inside = tag in ("script", "style")
        if self.inside:
            self.contents.append("")

    def handle_endtag(self, tag: str):
        self.inside = False

    def handle_data(self, data: str):
        if self.inside:
            self.contents[-1] += data


def islands(text: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The JSON data in a page: the head and one view for each trace."""
    found = re.findall(r'<script id="\S+" type="application/json">(.*?)</script>', text, re.DOTALL)
    head, traces = found
    return json.loads(head), [json.loads(line) for line in traces.split("\n")]


def hostile_page() -> str:
    traces = [TraceEntry(best_of(HOSTILE, prompt=text, strategy=text), id=text) for text in HOSTILE]
    rejected = [(text, Reject(1, text)) for text in HOSTILE]
    return render_page(
        traces, runs=[{text: text for text in HOSTILE}], rejected=rejected, title=HOSTILE[0]
    )


def test_hostile_text_adds_no_element_and_is_unchanged_in_the_data():
    text = hostile_page()
    tame = render_page([best_of(("a",))])
    assert [tag for tag, _ in Elements(text).tags] == [tag for tag, _ in Elements(tame).tags]
    head, views = islands(text)
    assert [row["id"] for row in head["rows"]] == list(HOSTILE)
    assert [view["prompt"] for view in views] == list(HOSTILE)
    assert views[0]["best"]["steps"] == [HOSTILE[0]]
    assert [one["reason"] for one in head["rejected"]] == list(HOSTILE)


def test_data_holds_no_character_that_could_end_a_script():
    text = hostile_page()
    for island in re.findall(r'type="application/json">(.*?)</script>', text, re.DOTALL):
        assert not re.search(r"[<>&\u2028\u2029\x00]", island) and island.isascii()


def test_the_policy_allows_only_the_own_script_and_style():
    elements = Elements(hostile_page())
    (policy,) = (a["content"] for _, a in elements.tags if a.get("http-equiv"))
    style, _, _, script = elements.contents

    def source(text: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    assert policy.split("; ") == [
        "default-src 'none'",
        f"script-src {source(script)}",
        f"style-src {source(style)}",
        "base-uri 'none'",
        "form-action 'none'",
    ]


def test_the_page_makes_no_request_and_no_markup_from_text():
    text = render_page([best_of(("a",))])
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\(|fetch\(""", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_the_list_has_snippets_and_each_text_is_in_the_page_once():
    long = "x" * 1_000_000
    head, views = islands(render_page([replace(best_of((long, "y")), prompt=long)]))
    assert len(json.dumps(head)) < 2000
    assert views[0]["prompt"] == long
    assert sum(node.get("text") == long for node in views[0]["nodes"]) == 1


def test_rows_hold_the_data_of_the_list():
    shown = TraceEntry(search(), id=901, correct=False, target="24", run=1)
    traces = [shown, vote({"a": 2}, {"a": 2.0})]
    head, (_, view) = islands(render_page(traces, runs=[{}, {"seed": 1}]))
    assert head["rows"][0] == {
        "id": "901",
        "run": 1,
        "strategy": "StepSearch",
        "correct": False,
        "prompt": "search",
        "outcome": "af",
        "total": 0.95,
        "candidates": 8,
        "tokens": 32,
    }
    assert head["rows"][1]["id"] == "2" and "correct" not in head["rows"][1]
    assert view["votes"] == [{"answer": "a", "count": 2, "weight": 2.0, "won": True}]


def test_page_rejects_nan_and_an_empty_list():
    trace = best_of(("a",))
    bad = replace(trace, candidates=(replace(trace.best, total=float("nan")),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        render_page([bad])
    with pytest.raises(ValueError, match="got no traces"):
        render_page([])


def test_a_notebook_gets_a_single_sandboxed_frame():
    text = render_frame(best_of(HOSTILE, strategy=HOSTILE[1]), height=400)
    ((tag, attributes),) = Elements(text).tags
    assert (tag, attributes["sandbox"]) == ("iframe", "allow-scripts")
    assert "height: 400px" in attributes["style"]
    assert islands(attributes["srcdoc"])[1][0]["best"]["steps"] == [HOSTILE[0]]
