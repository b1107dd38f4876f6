from dataclasses import replace

from reason_decode.core.solutions import Candidate, Trace
from reason_decode.viewer import build_tree, count_votes
from tests.viewer.traces import best_of, search, vote


def test_the_tree_of_a_search_marks_the_chosen_path():
    nodes = build_tree(search())
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


def test_dropped_steps_tell_their_place_in_the_round():
    why = {node.text: node.why for node in build_tree(search())}
    assert why["c"] == "place 3 of 3 in its round; 2 kept"
    assert why["bdg"] == "finished, but another was returned"
    assert (why["a"], why["b"]) == ("", "")


def test_a_step_dropped_for_a_worse_one_gets_all_possible_reasons():
    trace = search()
    first = (*trace.rounds[0][:2], replace(trace.rounds[0][2], total=0.7))
    why = build_tree(replace(trace, rounds=(first, *trace.rounds[1:])))[2].why
    assert why.startswith("place 2 of 3") and "cut off, a duplicate, or in another" in why


def test_candidates_are_ranked_and_followed_by_their_steps():
    worse = Candidate("a\nb", ("a", "b"), (0.1, 0.2), 0.2, tokens=5)
    cut = Candidate("d", ("d",), (0.95,), 0.95, finished=False)
    best = Candidate("c", ("c",), (0.9,), 0.9)
    nodes = build_tree(Trace("p", "BestOfN", (worse, cut, best), chosen=(2,)))
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
    assert nodes[2].why == "cut off, so it ranks below finished candidates"
    assert nodes[4].why == "place 3 of 3"


def test_an_outcome_score_is_no_score_of_a_step():
    whole = Candidate("a\nb", ("a", "b"), (0.7,), 0.7)
    assert [x.score for x in build_tree(Trace("p", "BestOfN", (whole,), chosen=(0,)))] == [None] * 3


def test_votes_are_counted_by_equal_answers():
    trace = vote({"7": 2, "1/2": 2, "0.5": 1, None: 1}, {"7": 2.0, "1/2": 3.0})
    rows = [(row.answer, row.count, row.weight, row.won) for row in count_votes(trace)]
    assert rows == [("1/2", 3, 3.0, True), ("7", 2, 2.0, False), (None, 1, 0.0, False)]
    why = {node.answer: node.why for node in build_tree(trace) if node.depth == 0 and node.why}
    assert why["7"] == "its answer has weight 2, the winner 3"
    assert why["0.5"] == "the same answer as the one returned"
    assert [x.why for x in build_tree(trace) if x.text == "so None" and x.depth == 0] == [
        "no answer, so no vote"
    ]


def test_strategies_without_votes_have_no_vote_table():
    assert count_votes(best_of(("a",))) == []
