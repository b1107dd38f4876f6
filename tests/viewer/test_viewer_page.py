import base64
import hashlib
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from reason_decode.io.jsonl import Reject
from reason_decode.viewer import Shown, inline, page
from tests.viewer.traces import HOSTILE, best_of, search, vote


class Elements(HTMLParser):
    """What a browser's parser makes of a page: its tags, and what lies between those of scripts."""

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
    """The data that the page's script reads."""
    found = re.findall(r'<script id="\S+" type="application/json">(.*?)</script>', text, re.DOTALL)
    head, traces = found
    return json.loads(head), [json.loads(line) for line in traces.split("\n")]


def hostile_page() -> str:
    traces = [Shown(best_of(HOSTILE, prompt=text, strategy=text), id=text) for text in HOSTILE]
    rejected = [(text, Reject(1, text)) for text in HOSTILE]
    return page(
        traces, runs=[{text: text for text in HOSTILE}], rejected=rejected, title=HOSTILE[0]
    )


def test_hostile_text_adds_no_element_and_comes_back_as_it_was():
    text = hostile_page()
    tame = page([best_of(("a",))])
    assert [tag for tag, _ in Elements(text).tags] == [tag for tag, _ in Elements(tame).tags]
    head, views = islands(text)
    assert [row["id"] for row in head["rows"]] == list(HOSTILE)
    assert [view["prompt"] for view in views] == list(HOSTILE)
    assert views[0]["best"]["steps"] == [HOSTILE[0]]
    assert [one["reason"] for one in head["rejected"]] == list(HOSTILE)


def test_data_hold_no_sign_that_could_end_a_script():
    text = hostile_page()
    for island in re.findall(r'type="application/json">(.*?)</script>', text, re.DOTALL):
        assert not re.search(r"[<>&\u2028\u2029\x00]", island) and island.isascii()


def test_the_policy_allows_the_page_s_own_script_and_style_and_nothing_else():
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


def test_the_page_asks_for_nothing_and_makes_no_markup_of_text():
    text = page([best_of(("a",))])
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)|@import|url\(|fetch\(""", text)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(", text)


def test_only_the_list_is_read_before_a_trace_is_opened():
    long = "x" * 1_000_000
    head, views = islands(page([replace(best_of((long, "y")), prompt=long)]))
    assert len(json.dumps(head)) < 2000
    assert views[0]["prompt"] == long
    assert sum(node.get("text") == long for node in views[0]["nodes"]) == 1


def test_a_row_says_what_the_list_shows():
    shown = Shown(search(), id=901, correct=False, target="24", run=1)
    traces = [shown, vote({"a": 2}, {"a": 2.0})]
    head, (_, view) = islands(page(traces, runs=[{}, {"seed": 1}]))
    assert head["rows"][0] == {
        "id": "901",
        "run": 1,
        "strategy": "StepSearch",
        "correct": False,
        "prompt": "search",
        "said": "af",
        "total": 0.95,
        "candidates": 8,
        "tokens": 32,
    }
    assert head["rows"][1]["id"] == "2" and "correct" not in head["rows"][1]
    assert view["votes"] == [{"answer": "a", "count": 2, "weight": 2.0, "won": True}]


def test_numbers_that_json_has_no_word_for_are_refused():
    trace = best_of(("a",))
    bad = replace(trace, candidates=(replace(trace.best, total=float("nan")),))
    with pytest.raises(ValueError, match="not JSON compliant"):
        page([bad])
    with pytest.raises(ValueError, match="got no traces"):
        page([])


def test_a_notebook_gets_one_frame_whatever_the_text():
    text = inline(best_of(HOSTILE, strategy=HOSTILE[1]), height=400)
    ((tag, attributes),) = Elements(text).tags
    assert (tag, attributes["sandbox"]) == ("iframe", "allow-scripts")
    assert "height: 400px" in attributes["style"]
    assert islands(attributes["srcdoc"])[1][0]["best"]["steps"] == [HOSTILE[0]]
