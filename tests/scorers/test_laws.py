"""The laws of the scorers' contract, held to by every scorer of the library."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import LlamaForSequenceClassification, LlamaModel

from reason_decode import (
    LikelihoodScorer,
    OutcomeRewardModel,
    ProcessRewardModel,
    RankingModel,
    RationaleScorer,
)
from reason_decode.scorers import Scorer
from reason_decode.scorers.writer import RationaleWriter
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
SOLUTIONS = [
    "10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)\n30 + 6 = 36 (left: 36)",
    "10 - 4 = 7 (left: 5 6 7)",
    "4 + 5 = 9 (left: 6 9 10)\n9 * 6 = 54 (left: 10 54)",
    "A is 1 + 2.\nFirst 1 + 2 = 3, so A is 3.",
]
OWNERS = [0, 0, 0, 1]
PAIRS = [PROMPTS[owner] for owner in OWNERS]
OUTCOME = ("outcome", "outcome chat", "likelihood whole", "ranking")


def _body(tiny: Tiny, kind: Any, **shape: Any) -> Any:
    config = {**tiny.model.config.to_dict(), "num_hidden_layers": 2, **shape}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        return kind(type(tiny.model.config).from_dict(config)).eval()


def _outcome(tiny: Tiny, **how: Any) -> OutcomeRewardModel:
    model = _body(tiny, LlamaForSequenceClassification, num_labels=1)
    return OutcomeRewardModel(model, tiny.tokenizer, **how)


def _ranking(tiny: Tiny, **how: Any) -> RankingModel:
    body = _body(tiny, LlamaModel)
    with torch.random.fork_rng():
        torch.manual_seed(2)  # of the head, which is new
        return RankingModel(body, tiny.tokenizer, chat=False, **how)


def _rationale(tiny: Tiny, **how: Any) -> RationaleScorer:
    writer = RationaleWriter(tiny.model, tiny.tokenizer, chat=False, max_new_tokens=5)
    return RationaleScorer(writer, chat=False, **how)


def _likelihood(tiny: Tiny, chat: bool = False, **how: Any) -> LikelihoodScorer:
    return LikelihoodScorer(tiny.model, tiny.tokenizer, chat=chat, **how)


# The published layouts are held to the same by tests/scorers/test_formats.py.
MADE: dict[str, Callable[..., Any]] = {
    "process": lambda tiny, **how: ProcessRewardModel(tiny.prm.model, tiny.prm.tokenizer, **how),
    "generative": lambda tiny, **how: ProcessRewardModel(
        tiny.model, tiny.tokenizer, format="generative", **how
    ),
    "outcome": lambda tiny, **how: _outcome(tiny, chat=False, **how),
    "outcome chat": lambda tiny, **how: _outcome(tiny, chat=True, **how),
    "likelihood": _likelihood,
    "likelihood chat": lambda tiny, **how: _likelihood(tiny, chat=True, **how),
    "likelihood whole": lambda tiny, **how: _likelihood(tiny, per_step=False, **how),
    "ranking": _ranking,
    "rationale": _rationale,
    "rationale difference": lambda tiny, **how: _rationale(tiny, subtract=True, **how),
}


@pytest.fixture(params=MADE)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def scorer(name: str, tiny: Tiny) -> Scorer:
    return MADE[name](tiny)


def _close(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, atol=1e-4, rtol=0)


def test_a_batch_scores_as_its_members_in_any_order(scorer: Scorer) -> None:
    together = scorer.score(PAIRS, SOLUTIONS)
    alone = [scorer.score([p], [s])[0] for p, s in zip(PAIRS, SOLUTIONS, strict=True)]
    _close(together, alone)
    _close(scorer.score(PAIRS[::-1], SOLUTIONS[::-1])[::-1], alone)


def test_padding_and_small_batches_change_nothing(name: str, scorer: Scorer, tiny: Tiny) -> None:
    small = MADE[name](tiny, batch_tokens=1)
    _close(small.score(PAIRS, SOLUTIONS), scorer.score(PAIRS, SOLUTIONS))


def test_text_and_ready_steps_score_alike(scorer: Scorer) -> None:
    _close(scorer.score(PAIRS, [x.split("\n") for x in SOLUTIONS]), scorer.score(PAIRS, SOLUTIONS))


def test_one_finite_float_a_step_or_one_in_all(name: str, scorer: Scorer) -> None:
    for scores, solution in zip(scorer.score(PAIRS, SOLUTIONS), SOLUTIONS, strict=True):
        assert scores.dtype == torch.float32
        assert scores.shape == ((1,) if name in OUTCOME else (solution.count("\n") + 1,))
        assert bool(torch.isfinite(scores).all())


def test_a_session_scores_as_the_stateless_call(name: str, scorer: Scorer) -> None:
    """Step by step, with branches kept, dropped and doubled on the way."""
    steps = [solution.split("\n") for solution in SOLUTIONS]
    session = scorer.open(PROMPTS)
    first = session.score([[[x[0]] for x in steps[:3]], [[steps[3][0]]]])
    session.keep([(0, 2), (1, 0), (0, 0), (0, 0)])
    second = session.score([[steps[2][1:]], [], [["8 * 1 = 8"], steps[0][1:]], [steps[0][1:2]]])
    asked = [steps[2], steps[0], steps[0][:2]]
    whole = scorer.score([PROMPTS[0]] * 3, asked)
    # An outcome scorer judges a solution as far as it goes, a process scorer its new steps.
    done = 0 if name in OUTCOME else 1
    _close(second[0][0], whole[0][done:])
    _close(second[2][1], whole[1][done:])
    _close(second[3][0], whole[2][done:])
    _close(first[0][2], scorer.score([PROMPTS[0]], [steps[2][:1]])[0])


def test_a_solution_without_steps_has_no_scores(scorer: Scorer) -> None:
    (scores,) = scorer.score(PROMPTS[:1], ["\n \n"])
    assert scores.shape == (0,)


def test_blank_steps_and_unequal_numbers_are_refused(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match=r"blank step \(number 1\) in solution 0"):
        scorer.score(PROMPTS[:1], [["a", " "]])
    with pytest.raises(ValueError, match="2 prompts for 1 solutions"):
        scorer.score(PROMPTS, ["a"])
