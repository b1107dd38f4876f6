"""One HTML file for any number of traces, which needs no network and runs nothing they say."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reason_decode.core.records import Trace
from reason_decode.io.jsonl import Reject
from reason_decode.viewer.read import Shown
from reason_decode.viewer.tree import tree, votes

__all__ = ["inline", "page"]

_FOLDER = Path(__file__).parent
_SCRIPTS = ("text.js", "list.js", "tree.js", "detail.js", "page.js")
# Of each text, so much is in the list of traces; the rest is read where the trace is opened.
_IN_LIST = 160


def page(
    traces: Sequence[Shown | Trace],
    *,
    runs: Sequence[Mapping[str, Any]] = (),
    rejected: Sequence[tuple[str, Reject]] = (),
    title: str = "Traces",
) -> str:
    r"""The page that shows traces, as one text.

    Model text is in it as JSON alone, in which ``<``, ``>``, ``&`` and all that is not ASCII are
    escaped; its script makes text nodes of it, never markup. A Content-Security-Policy forbids
    any other script, style or request.

    Args:
        traces: those shown, in order.
        runs: how they were made, such as ``reason-decode eval`` says; ``Shown.run`` is a place
            among these.
        rejected: files and lines that held no trace.
        title: of the page.

    Raises:
        ValueError: there are no traces, or one holds NaN or infinity, which JSON has no word for.
    """
    shown = [x if isinstance(x, Shown) else Shown(x) for x in traces]
    if not shown:
        raise ValueError("got no traces; pass at least one")
    views = [_view(x) for x in shown]
    head = {
        "title": title,
        "runs": [dict(run) for run in runs],
        "rejected": [{"file": file, **asdict(reject)} for file, reject in rejected],
        "rows": [_row(k, x, view) for k, (x, view) in enumerate(zip(shown, views, strict=True))],
    }
    style = (_FOLDER / "page.css").read_text(encoding="utf-8")
    script = "\n".join((_FOLDER / name).read_text(encoding="utf-8") for name in _SCRIPTS)
    script = f'"use strict";\n(() => {{\n{script}\n}})();'
    parts = {
        "title": html.escape(title),
        "policy": _policy(style, script),
        "style": style,
        "head": _island(head),
        "traces": "\n".join(map(_island, views)),
        "script": script,
    }
    template = (_FOLDER / "page.html").read_text(encoding="utf-8")
    # In one go: what is put in is not searched again for places to put something in.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)


def inline(trace: Trace, height: int = 620) -> str:
    """The page of one trace as a fragment for a notebook: a frame that shares nothing with it.

    Args:
        trace: what happened.
        height: in pixels.

    Raises:
        ValueError: the trace holds NaN or infinity.
    """
    inner = html.escape(page([trace], title=trace.strategy))
    name = html.escape(f"Trace of {trace.strategy}")
    return (
        f'<iframe srcdoc="{inner}" sandbox="allow-scripts" title="{name}" '
        f'style="width: 100%; height: {int(height)}px; border: 0"></iframe>'
    )


def _policy(style: str, script: str) -> str:
    """The Content-Security-Policy under which nothing but these two runs."""

    def source(text: str) -> str:
        digest = hashlib.sha256(text.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return (
        f"default-src 'none'; script-src {source(script)}; style-src {source(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _island(data: Any) -> str:
    """JSON that is safe between script tags: ASCII, and without what could end or open a tag."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text


def _view(shown: Shown) -> dict[str, Any]:
    """What the page draws of one trace; what is empty is left out."""
    trace = shown.trace
    best = trace.best
    return {
        "prompt": trace.prompt,
        "target": shown.target,
        "best": _filled(
            {
                "steps": best.steps or (best.text,),
                "scores": best.scores,
                "total": best.total,
                "answer": best.answer,
                "finished": best.finished,
            }
        ),
        "chosen": len(set(trace.chosen)),
        "search": bool(trace.rounds),
        "nodes": _nodes(trace),
        "votes": [asdict(vote) for vote in votes(trace)],
    }


def _nodes(trace: Trace) -> list[dict[str, Any]]:
    """The tree as dicts; a whole candidate's text is that of its steps and not written twice."""
    nodes = tree(trace)
    plain = [_filled(vars(node)) for node in nodes]
    if not trace.rounds:
        for parent in {node.parent for node in nodes if node.parent is not None}:
            plain[parent].pop("text", None)
    return plain


def _filled(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in fields.items() if x is not None and x != "" and x != ()}


def _row(k: int, shown: Shown, view: Mapping[str, Any]) -> dict[str, Any]:
    """What the list of traces says of one."""
    trace, best = shown.trace, shown.trace.best
    said = best.answer or (best.steps[-1] if best.steps else best.text)
    return _filled(
        {
            "id": str(shown.id if shown.id is not None else k + 1),
            "run": shown.run,
            "strategy": trace.strategy,
            "correct": shown.correct,
            "prompt": trace.prompt[:_IN_LIST],
            "said": said[:_IN_LIST],
            "total": best.total,
            "candidates": sum(1 for node in view["nodes"] if node["state"] != "part"),
            "tokens": sum(node.get("tokens", 0) for node in view["nodes"]),
        }
    )
