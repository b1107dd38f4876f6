"""Viewer of traces: one HTML file without dependencies, and the data that a terminal prints.

- `read_traces(path)`: the traces of a file that ``generate --trace`` or ``eval --trace`` wrote
- `render_page(traces)`: an HTML page that shows them; `render_frame(trace)`: one for a notebook
- `build_tree(trace)`, `count_votes(trace)`: the nodes and the votes that both show
"""

from reason_decode.viewer.page import render_frame, render_page
from reason_decode.viewer.read import TraceEntry, TraceFile, read_traces
from reason_decode.viewer.tree import AnswerVotes, TreeNode, build_tree, count_votes

__all__ = [
    "AnswerVotes",
    "TraceEntry",
    "TraceFile",
    "TreeNode",
    "build_tree",
    "count_votes",
    "read_traces",
    "render_frame",
    "render_page",
]
