"""Traces shown: one HTML file that needs nothing else, and what a terminal prints of them."""

from reason_decode.viewer.page import inline, page
from reason_decode.viewer.read import Shown, TraceFile, read_traces
from reason_decode.viewer.tree import Node, Vote, tree, votes

__all__ = [
    "Node",
    "Shown",
    "TraceFile",
    "Vote",
    "inline",
    "page",
    "read_traces",
    "tree",
    "votes",
]
