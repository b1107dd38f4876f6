from dataclasses import replace

from reason_decode.core.records import Candidate, Trace
from reason_decode.viewer import tree, votes
from tests.viewer.traces import best_of, search, vote


def test_a_search_is_a_forest_with_its_chosen_path_marked():
    nodes = tree(search())
    assert [(node.text, node.depth, node.state) for node in nodes] == [
        ("a", 0, "chosen"),
        ("b", 0, "kept"),
        ("c", 0, "dropped"),
        ("bd", 1, "kept"),
        ("be", 1, "dropped"),
        ("af", 1, "chosen"),
        ("bdg", 2, "kept"),
        ("bdh", 2, "dropped"),
    ]
    for node in nodes:
        assert node.parent is None or node.text.startswith(nodes[node.parent].text)


def test_what_was_dropped_says_where_it_stood():
    why = {node.text: node.why for node in tree(search())}
    assert why["c"] == "place 3 of 3 in its round; 2 kept"
    assert why["bdg"] == "finished, but another was returned"
    assert (why["a"], why["b"]) == ("", "")


def test_what_was_dropped_for_something_worse_says_that_the_trace_does_not_know():
    trace = search()
    first = (*trace.rounds[0][:2], replace(trace.rounds[0][2], total=0.7))
    why = tree(replace(trace, rounds=(first, *trace.rounds[1:])))[2].why
    assert why.startswith("place 2 of 3") and "cut off, like a kept one, or in another" in why


def test_candidates_come_with_their_steps_the_choice_first():
    worse = Candidate("a\nb", ("a", "b"), (0.1, 0.2), 0.2, tokens=5)
    cut = Candidate("d", ("d",), (0.95,), 0.95, finished=False)
    best = Candidate("c", ("c",), (0.9,), 0.9)
    nodes = tree(Trace("p", "BestOfN", (worse, cut, best), chosen=(2,)))
    assert [(x.text, x.parent, x.state) for x in nodes] == [
        ("c", None, "chosen"),
        ("c", 0, "chosen"),
        ("d", None, "dropped"),
        ("d", 2, "part"),
        ("a\nb", None, "dropped"),
        ("a", 4, "part"),
        ("b", 4, "part"),
    ]
    assert [node.score for node in nodes[5:]] == [0.1, 0.2]
    assert nodes[2].why == "cut off, so it ranks behind what finished"
    assert nodes[4].why == "place 3 of 3"


def test_an_outcome_score_belongs_to_no_step():
    whole = Candidate("a\nb", ("a", "b"), (0.7,), 0.7)
    assert [x.score for x in tree(Trace("p", "BestOfN", (whole,), chosen=(0,)))] == [None] * 3


def test_votes_are_counted_by_answers_that_are_the_same():
    trace = vote({"7": 2, "1/2": 2, "0.5": 1, None: 1}, {"7": 2.0, "1/2": 3.0})
    rows = [(row.answer, row.count, row.weight, row.won) for row in votes(trace)]
    assert rows == [("1/2", 3, 3.0, True), ("7", 2, 2.0, False), (None, 1, 0.0, False)]
    why = {node.answer: node.why for node in tree(trace) if node.depth == 0 and node.why}
    assert why["7"] == "its answer has weight 2, the winner 3"
    assert why["0.5"] == "the same answer as the one returned"
    assert [x.why for x in tree(trace) if x.text == "so None" and x.depth == 0] == [
        "no answer, so no vote"
    ]


def test_where_nobody_voted_there_are_no_votes():
    assert votes(best_of(("a",))) == []
