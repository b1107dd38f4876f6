"""One HTML file that shows any number of traces; it needs no network and runs no model text."""

import base64
import hashlib
import html
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from reason_decode.core.solutions import Trace
from reason_decode.io.read_report import Reject
from reason_decode.viewer.read import TraceEntry
from reason_decode.viewer.tree import build_tree, count_votes

__all__ = ["render_frame", "render_page"]

_FOLDER = Path(__file__).parent
_SCRIPTS = ("text.js", "list.js", "tree.js", "detail.js", "page.js")
# Characters of a text in the list of traces; the whole text is read when its trace is opened.
_SNIPPET = 160


def render_page(
    traces: Sequence[TraceEntry | Trace],
    *,
    runs: Sequence[Mapping[str, Any]] = (),
    rejected: Sequence[tuple[str, Reject]] = (),
    title: str = "Traces",
) -> str:
    r"""The HTML page that shows traces.

    Model text is only contained as JSON, in which ``<``, ``>``, ``&`` and all characters outside
    ASCII are escaped. The page's script turns it into text nodes, never into markup. A
    Content-Security-Policy forbids any other script, style or request.

    Args:
        traces: the traces, in the order of the list.
        runs: settings and results of the runs, as ``reason-decode eval`` writes them;
            ``TraceEntry.run`` is an index into these.
        rejected: file and line of each line that holds no trace.
        title: title of the page.

    Raises:
        ValueError: there are no traces, or one holds NaN or infinity, which JSON cannot represent.
    """
    entries = [x if isinstance(x, TraceEntry) else TraceEntry(x) for x in traces]
    if not entries:
        raise ValueError("got no traces; pass at least one")
    views = [_view(x) for x in entries]
    head = {
        "title": title,
        "runs": [dict(run) for run in runs],
        "rejected": [{"file": file, **asdict(reject)} for file, reject in rejected],
        "rows": [_row(k, x, view) for k, (x, view) in enumerate(zip(entries, views, strict=True))],
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
    # In a single pass: placeholders in the inserted texts must not be replaced.
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def render_frame(trace: Trace, height: int = 620) -> str:
    """An HTML fragment for a notebook: the page of one trace in a sandboxed frame.

    Args:
        trace: the trace.
        height: height of the frame in pixels.

    Raises:
        ValueError: the trace holds NaN or infinity.
    """
    inner = html.escape(render_page([trace], title=trace.strategy))
    name = html.escape(f"Trace of {trace.strategy}")
    return (
        f'<iframe srcdoc="{inner}" sandbox="allow-scripts" title="{name}" '
        f'style="width: 100%; height: {int(height)}px; border: 0"></iframe>'
    )


def _policy(style: str, script: str) -> str:
    """A Content-Security-Policy that allows this style and this script and nothing else."""

    def source(text: str) -> str:
        digest = hashlib.sha256(text.encode()).digest()
        return f"'sha256-{base64.b64encode(digest).decode()}'"

    return (
        f"default-src 'none'; script-src {source(script)}; style-src {source(style)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _island(data: Any) -> str:
    """JSON that is safe between script tags: ASCII without characters that open or close a tag."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _view(entry: TraceEntry) -> dict[str, Any]:
    """The data with which the page draws an opened trace, without empty fields."""
    trace = entry.trace
    best = trace.best
    return {
        "prompt": _prompt(trace),
        "target": entry.target,
        "best": _without_empty(
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
        "votes": [asdict(vote) for vote in count_votes(trace)],
    }


def _nodes(trace: Trace) -> list[dict[str, Any]]:
    """The tree as dicts; the text of a whole candidate is left out, for its steps have it."""
    nodes = build_tree(trace)
    plain = [_without_empty(vars(node)) for node in nodes]
    if not trace.rounds:
        for parent in {node.parent for node in nodes if node.parent is not None}:
            plain[parent].pop("text", None)
    return plain


def _without_empty(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in fields.items() if x is not None and x != "" and x != ()}


def _row(k: int, entry: TraceEntry, view: Mapping[str, Any]) -> dict[str, Any]:
    """The data of a trace in the list of traces."""
    trace, best = entry.trace, entry.trace.best
    outcome = best.answer or (best.steps[-1] if best.steps else best.text)
    return _without_empty(
        {
            "id": str(entry.id if entry.id is not None else k + 1),
            "run": entry.run,
            "strategy": trace.strategy,
            "correct": entry.correct,
            "prompt": trace.prompt[:_SNIPPET],
            "outcome": outcome[:_SNIPPET],
            "total": best.total,
            "candidates": sum(1 for node in view["nodes"] if node["state"] != "part"),
            "tokens": sum(node.get("tokens", 0) for node in view["nodes"]),
        }
    )


def _prompt(trace: Trace) -> str:
    """The prompt's text; of a conversation of several turns each turn under its role."""
    if len(trace.messages) < 2:
        return trace.prompt
    return "\n\n".join(f"{turn['role']}:\n{turn['content']}" for turn in trace.messages)
