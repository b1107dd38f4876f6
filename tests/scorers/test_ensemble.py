import json
from typing import Any

import pytest
import torch

from reason_decode import ConfidenceScorer, StepSearch
from reason_decode.scorers import EnsembleScorer
from reason_decode.scorers.loading import check_scorer_name, load_scorer
from reason_decode.scorers.saved import load_saved_scorer, scorer_settings
from reason_decode.testing import check_scorer
from reason_decode.tiny import Tiny
from tests.strategies.run_strategy import generate, traces

PROMPTS = ["Make 36 from 4 5 6 10.\n"] * 2
SOLUTIONS = ["10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 31 (left: 6 31)", "10 - 4 = 7 (left: 5 6 7)"]


@pytest.mark.numeric
@pytest.mark.parametrize("combine", ["mean", "min", "lower-bound"])
def test_scores_are_combined_step_by_step(tiny: Tiny, combine: Any) -> None:
    members = [tiny.prm, tiny.verifier]
    found = EnsembleScorer(members, combine=combine, width=2.0).score(PROMPTS, SOLUTIONS)
    each = zip(*(x.score(PROMPTS, SOLUTIONS) for x in members), strict=True)
    for scores, pair in zip(found, each, strict=True):
        a, b = (x.double() for x in pair)
        expected = {
            "mean": (a + b) / 2,
            "min": torch.minimum(a, b),
            # Of two numbers the standard deviation is half of their distance.
            "lower-bound": ((a + b) / 2 - (a - b).abs()).clamp(min=0),
        }
        torch.testing.assert_close(scores.double(), expected[combine], rtol=1e-5, atol=1e-7)


@pytest.mark.numeric
def test_it_keeps_the_laws_of_scorers(tiny: Tiny) -> None:
    check_scorer(EnsembleScorer([tiny.prm, tiny.verifier], combine="lower-bound"))


def test_a_search_reads_each_step_once_for_each_scorer(tiny: Tiny) -> None:
    """The same search is guided by two copies of a scorer as by one, at twice its tokens."""
    outs = [
        generate(tiny, StepSearch(scorer, tokenizer=tiny.tokenizer, n=3, beam_width=2), PROMPTS[:1])
        for scorer in (tiny.prm, EnsembleScorer([tiny.prm, tiny.prm]))
    ]
    assert [x.text for x in traces(outs[0])[0].candidates] == [
        x.text for x in traces(outs[1])[0].candidates
    ]
    assert outs[0].cost is not None and outs[1].cost is not None
    assert outs[1].cost.scorer == 2 * outs[0].cost.scorer


def test_settings_rebuild_it(tiny: Tiny) -> None:
    scorer = load_scorer("lower-bound=tiny,prm=tiny")
    settings = scorer_settings(scorer)
    again = load_saved_scorer(json.dumps(settings))
    assert isinstance(again, EnsembleScorer) and scorer_settings(again) == settings
    for found, expected in zip(
        again.score(PROMPTS, SOLUTIONS), scorer.score(PROMPTS, SOLUTIONS), strict=True
    ):
        assert torch.equal(found, expected)


def test_scorers_that_do_not_go_together_are_refused(tiny: Tiny) -> None:
    rewards = ConfidenceScorer("mean", per_step=True)
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        ([tiny.prm], {}, "got 1 scorers; pass at least two"),
        ([tiny.prm, rewards], {}, "different score_space .*TokenClassification: 'probability'"),
        ([tiny.prm, tiny.orm], {}, "different scores of steps"),
        ([tiny.prm, "tiny"], {}, r"got scorers\[1\]='tiny'"),
        ([tiny.prm, tiny.prm], {"combine": "max"}, "got combine='max'; allowed are mean, min"),
        ([tiny.prm, tiny.prm], {"width": -1.0}, "got width=-1.0"),
    ]
    for scorers, options, match in wrong:
        with pytest.raises(ValueError, match=match):
            EnsembleScorer(scorers, **options)
    with pytest.raises(ValueError, match="allowed are tiny;"):
        check_scorer_name("min=tiny,http://x")
