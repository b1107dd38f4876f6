"""Every scorer of the library keeps the laws that ``reason_decode.testing`` checks."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from published_prms import MADE as PUBLISHED
from transformers import (
    BertConfig,
    BertModel,
    LlamaForSequenceClassification,
    LlamaModel,
    T5Config,
    T5EncoderModel,
)

from reason_decode import (
    LikelihoodScorer,
    OutcomeRewardModel,
    ProcessRewardModel,
    RankingModel,
    RationaleScorer,
)
from reason_decode.scorers import Scorer, TokenClassification
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.testing import (
    check_batches,
    check_empty_solutions,
    check_score_space,
    check_sessions,
    check_shapes,
    check_texts,
)
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings, tolerance

pytestmark = pytest.mark.numeric
PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
STEPS = [
    ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 30 (left: 6 30)", "30 + 6 = 36 (left: 36)"],
    ["10 - 4 = 7 (left: 5 6 7)"],
    ["4 + 5 = 9 (left: 6 9 10)", "9 * 6 = 54 (left: 10 54)"],
    ["A is 1 + 2.", "First 1 + 2 = 3, so A is 3."],
]
OWNERS = [0, 0, 0, 1]
PAIRS = [PROMPTS[owner] for owner in OWNERS]
OUTCOME = (
    "outcome",
    "outcome chat",
    "likelihood whole",
    "ranking",
    "ranking bert",
    "ranking bert cut",
    "ranking t5",
)


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


def _encoding(tiny: Tiny, kind: Any, window: int | None = None, **how: Any) -> RankingModel:
    size: dict[str, Any] = {"vocab_size": len(tiny.tokenizer)}
    with torch.random.fork_rng():
        torch.manual_seed(2)
        if kind is BertModel:
            body = BertModel(
                BertConfig(
                    hidden_size=32,
                    num_hidden_layers=2,
                    num_attention_heads=2,
                    intermediate_size=48,
                    **size,
                )
            )
        else:
            body = T5EncoderModel(
                T5Config(d_model=32, d_kv=16, d_ff=48, num_layers=2, num_heads=2, **size)
            )
        return RankingModel(body, tiny.tokenizer, window=window, **how)


def _rationale(tiny: Tiny, **how: Any) -> RationaleScorer:
    writer = RationaleWriter(tiny.model, tiny.tokenizer, chat=False, max_new_tokens=5)
    return RationaleScorer(writer, chat=False, **how)


def _likelihood(tiny: Tiny, chat: bool = False, **how: Any) -> LikelihoodScorer:
    return LikelihoodScorer(tiny.model, tiny.tokenizer, chat=chat, **how)


OURS: dict[str, Callable[..., Any]] = {
    "process": lambda tiny, **how: TokenClassification(tiny.prm.model, tiny.prm.tokenizer, **how),
    "outcome": lambda tiny, **how: _outcome(tiny, chat=False, **how),
    "outcome chat": lambda tiny, **how: _outcome(tiny, chat=True, **how),
    "likelihood": _likelihood,
    "likelihood chat": lambda tiny, **how: _likelihood(tiny, chat=True, **how),
    "likelihood whole": lambda tiny, **how: _likelihood(tiny, per_step=False, **how),
    "ranking": _ranking,
    "ranking bert": lambda tiny, **how: _encoding(tiny, BertModel, **how),
    "ranking bert cut": lambda tiny, **how: _encoding(tiny, BertModel, window=20, **how),
    "ranking t5": lambda tiny, **how: _encoding(tiny, T5EncoderModel, **how),
    "rationale": _rationale,
    "rationale difference": lambda tiny, **how: _rationale(tiny, contrastive=True, **how),
    "rationale sum": lambda tiny, **how: _rationale(tiny, length_normalize=False, **how),
}


@pytest.fixture(params=[*OURS, *PUBLISHED])
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def make(name: str, tiny: Tiny, tmp_path: Path) -> Callable[..., Any]:
    """Makes the scorer, with options."""
    if name in OURS:
        return lambda **how: OURS[name](tiny, **how)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = PUBLISHED[name](tmp_path / name)  # some formats are detected by the folder's name
    loaded = ProcessRewardModel.from_pretrained(made.folder, format=made.format, **made.options)
    return lambda **how: type(loaded)(loaded.model, loaded.tokenizer, **made.options, **how)


@pytest.fixture
def scorer(make: Callable[..., Any]) -> Scorer:
    return make()


def allowed(scorer: Any) -> float:
    """Difference that rounding may make, relative to the largest score."""
    return tolerance(roundings(scorer.model))


@pytest.mark.numeric
def test_a_batch_scores_as_its_members_in_any_order(scorer: Scorer) -> None:
    check_batches(scorer, PAIRS, STEPS, tolerance=allowed(scorer))


@pytest.mark.numeric
def test_padding_and_small_batches_change_nothing(scorer: Scorer, make: Callable[..., Any]) -> None:
    found = make(batch_tokens=1).score(PAIRS, STEPS)
    assert_close(found, scorer.score(PAIRS, STEPS), terms=roundings(make().model))


@pytest.mark.numeric
def test_text_and_ready_steps_score_alike(scorer: Scorer) -> None:
    check_texts(scorer, PAIRS, STEPS, tolerance=allowed(scorer))


def test_one_finite_float_a_step_or_one_in_all(name: str, scorer: Scorer) -> None:
    check_shapes(scorer, PAIRS, STEPS)
    for scores, steps in zip(scorer.score(PAIRS, STEPS), STEPS, strict=True):
        assert scores.shape == ((1,) if name in OUTCOME else (len(steps),))


@pytest.mark.numeric
def test_scores_are_what_the_score_space_says(scorer: Scorer) -> None:
    check_score_space(scorer, PAIRS, STEPS, tolerance=allowed(scorer))


@pytest.mark.numeric
def test_a_session_scores_as_the_stateless_call(scorer: Scorer) -> None:
    """Step by step, with branches selected, dropped and doubled on the way."""
    check_sessions(scorer, PAIRS, STEPS, tolerance=allowed(scorer))


def test_a_solution_without_steps_has_no_scores(scorer: Scorer) -> None:
    check_empty_solutions(scorer, PROMPTS)


def test_blank_steps_and_unequal_numbers_are_refused(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match=r"blank step \(number 1\) in solution 0"):
        scorer.score(PROMPTS[:1], [["a", " "]])
    with pytest.raises(ValueError, match="2 prompts for 1 solutions"):
        scorer.score(PROMPTS, ["a"])
