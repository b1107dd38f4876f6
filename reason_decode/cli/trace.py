"""``reason-decode trace``: the candidates and scores of a run, as a page or in the terminal."""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from reason_decode.cli.configs import TraceConfig
from reason_decode.cli.output import STANDARD_OUTPUT
from reason_decode.core.solutions import Trace
from reason_decode.io.claim import claimed
from reason_decode.io.console import in_colour, printable, table
from reason_decode.io.jsonl import check_writable, write_text
from reason_decode.io.read_report import Reject
from reason_decode.viewer import (
    TraceEntry,
    TreeNode,
    build_tree,
    count_votes,
    read_traces,
    render_page,
)

__all__ = ["run"]

_MAX_CHARACTERS = 160  # of a text in the terminal
_MAX_REJECTS = 10  # that are printed one by one


def run(config: TraceConfig, argv: Sequence[str]) -> int:
    """Read traces, then write the page or print the trees; print the lines that are set aside."""
    if config.output is None or config.output == STANDARD_OUTPUT:
        return _show(config)
    check_writable(config.output, inputs=config.input)
    with claimed(config.output):
        return _show(config)


def _show(config: TraceConfig) -> int:
    traces, runs, rejected = _read(config.input)
    for path, reject in rejected[:_MAX_REJECTS]:
        reason = printable(reject.reason)
        print(f"set aside: {path}, line {reject.row}: {reason}", file=sys.stderr)
    if len(rejected) > _MAX_REJECTS:
        print(f"set aside: {len(rejected) - _MAX_REJECTS} more lines", file=sys.stderr)
    if config.id is not None:
        traces = [one for one in traces if str(one.id) == config.id]
    traces = traces[: config.limit]
    if not traces:
        of = "" if config.id is None else f" of id {config.id}"
        raise ValueError(
            f"no trace{of} in {', '.join(config.input)} ({len(rejected)} lines set aside); "
            "`generate --trace` and `eval --trace FILE` write them"
        )
    if config.output is None:
        print("\n\n".join(_text(one) for one in traces))
        return 0
    title = config.title or ", ".join(Path(path).name for path in config.input)
    html = render_page(traces, runs=runs, rejected=rejected, title=title)
    if config.output == STANDARD_OUTPUT:
        print(html)
        return 0
    write_text(config.output, html)
    print(f"{config.output}: {len(traces)} traces; {len(rejected)} lines set aside")
    return 0


def _read(
    files: Sequence[str],
) -> tuple[list[TraceEntry], list[dict[str, Any]], list[tuple[str, Reject]]]:
    """Traces of all files, the settings of each file's run, and (file, line set aside) pairs."""
    traces: list[TraceEntry] = []
    runs: list[dict[str, Any]] = []
    rejected: list[tuple[str, Reject]] = []
    for k, path in enumerate(files):
        file = read_traces(path, run=k)
        traces += file.traces
        runs.append({"file": Path(path).name, **file.run})
        rejected += [(Path(path).name, reject) for reject in file.rejected]
    return traces, runs, rejected


def _text(one: TraceEntry) -> str:
    """Text of a trace: the prompt, the tree of steps, the votes."""
    trace = one.trace
    head = printable(f"{one.id}  {trace.strategy}" if one.id is not None else trace.strategy)
    right = {True: in_colour("right", "green"), False: in_colour("wrong", "red"), None: ""}
    lines = [
        f"{in_colour(head, 'bold')}  {right[one.correct]}".rstrip(),
        f"  {_line(trace.prompt)}",
    ]
    lines += _branches(build_tree(trace))
    if trace.votes:
        lines += ["", *_votes(trace)]
    return "\n".join(lines)


def _branches(nodes: list[TreeNode]) -> Iterator[str]:
    """Lines of a tree, each node under the one that it continues."""
    below: dict[int | None, list[int]] = {}
    for k, node in enumerate(nodes):
        below.setdefault(node.parent, []).append(k)
    for group in below.values():
        if nodes[group[0]].state != "part" and nodes[group[0]].tokens is not None:
            group.sort(key=lambda k: (_RANK[nodes[k].state], -(nodes[k].total or 0.0)))
    # A loop instead of a recursion: a search can be deeper than Python's stack.
    todo = [(k, "  ", k == below[None][-1]) for k in reversed(below[None])]
    while todo:
        k, lead, last = todo.pop()
        yield f"{lead}{'└─' if last else '├─'} {_node(nodes[k])}"
        inner = below.get(k, [])
        further = lead + ("   " if last else "│  ")
        todo += [(i, further, i == inner[-1]) for i in reversed(inner)]


_RANK = {"chosen": 0, "kept": 1, "part": 1, "dropped": 2}


def _node(node: TreeNode) -> str:
    value = node.total if node.score is None else node.score
    score = "   -" if value is None else f"{value:4.2f}"
    # A whole candidate shows its last line only: its steps are the nodes below it.
    text = node.text.strip().rpartition("\n")[2] if node.depth == 0 else node.text
    marks = {"chosen": "*", "kept": "", "part": "", "dropped": "dropped"}
    mark = ", ".join(filter(None, (marks[node.state], node.why)))
    line = f"{in_colour(score, 'green') if node.state == 'chosen' else score}  {_line(text)}"
    return line + (in_colour(f"  [{mark}]", "dim") if mark else "")


def _votes(trace: Trace) -> list[str]:
    rows = [
        {
            "answer": "(none)" if vote.answer is None else _line(vote.answer),
            "votes": vote.count,
            "weight": f"{vote.weight:.4g}",
            "": "*" if vote.won else "",
        }
        for vote in count_votes(trace)
    ]
    return [f"  {line}" for line in table(rows).splitlines()]


def _line(text: str) -> str:
    """A text on one line, shortened if it is long."""
    text = text.strip() or "(nothing more)"
    line = printable(text[:_MAX_CHARACTERS].replace("\n", " ⏎ "))
    return line if len(text) <= _MAX_CHARACTERS else f"{line}… ({len(text):,} characters)"
