"""The laws of the scorers' contract, held to by every scorer of the library."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from test_formats import MADE as PUBLISHED
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
from reason_decode.scorers import Scorer
from reason_decode.scorers.writer import RationaleWriter
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

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
    "process": lambda tiny, **how: ProcessRewardModel(tiny.prm.model, tiny.prm.tokenizer, **how),
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
    "rationale difference": lambda tiny, **how: _rationale(tiny, subtract=True, **how),
    "rationale sum": lambda tiny, **how: _rationale(tiny, mean=False, **how),
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
        made = PUBLISHED[name](tmp_path / name)  # which some are told by
    loaded = ProcessRewardModel.from_pretrained(made.folder, format=made.format)
    return lambda **how: ProcessRewardModel(
        loaded.model, loaded.tokenizer, format=loaded.name, **how
    )


@pytest.fixture
def scorer(make: Callable[..., Any]) -> Scorer:
    return make()


def _close(scorer: Any, found: Any, expected: Any) -> None:
    assert_close(found, expected, terms=roundings(scorer.model))


def test_a_batch_scores_as_its_members_in_any_order(scorer: Scorer) -> None:
    together = scorer.score(PAIRS, STEPS)
    alone = [scorer.score([p], [s])[0] for p, s in zip(PAIRS, STEPS, strict=True)]
    _close(scorer, together, alone)
    _close(scorer, scorer.score(PAIRS[::-1], STEPS[::-1])[::-1], alone)


def test_padding_and_small_batches_change_nothing(scorer: Scorer, make: Callable[..., Any]) -> None:
    _close(scorer, make(batch_tokens=1).score(PAIRS, STEPS), scorer.score(PAIRS, STEPS))


def test_text_and_ready_steps_score_alike(scorer: Scorer) -> None:
    texts = [scorer.splitter.separator.join(steps) for steps in STEPS]
    _close(scorer, scorer.score(PAIRS, texts), scorer.score(PAIRS, STEPS))


def test_one_finite_float_a_step_or_one_in_all(name: str, scorer: Scorer) -> None:
    for scores, steps in zip(scorer.score(PAIRS, STEPS), STEPS, strict=True):
        assert scores.dtype == torch.float32
        assert scores.shape == ((1,) if name in OUTCOME else (len(steps),))
        assert bool(torch.isfinite(scores).all())


def test_a_session_scores_as_the_stateless_call(name: str, scorer: Scorer) -> None:
    """Step by step, with branches kept, dropped and doubled on the way."""
    session = scorer.open(PROMPTS)
    first = session.score([[steps[:1] for steps in STEPS[:3]], [STEPS[3][:1]]])
    session.keep([(0, 2), (1, 0), (0, 0), (0, 0)])
    second = session.score([[STEPS[2][1:]], [], [["8 * 1 = 8"], STEPS[0][1:]], [STEPS[0][1:2]]])
    whole = scorer.score([PROMPTS[0]] * 4, [STEPS[2], STEPS[0], STEPS[0][:2], STEPS[2][:1]])
    # An outcome scorer judges a solution as far as it goes, a process scorer its new steps.
    done = 0 if name in OUTCOME else 1
    found = [second[0][0], second[2][1], second[3][0], first[0][2]]
    _close(scorer, found, [*(x[done:] for x in whole[:3]), whole[3]])


def test_a_solution_without_steps_has_no_scores(scorer: Scorer) -> None:
    (scores,) = scorer.score(PROMPTS[:1], [f"{scorer.splitter.separator} "])
    assert scores.shape == (0,)


def test_blank_steps_and_unequal_numbers_are_refused(scorer: Scorer) -> None:
    with pytest.raises(ValueError, match=r"blank step \(number 1\) in solution 0"):
        scorer.score(PROMPTS[:1], [["a", " "]])
    with pytest.raises(ValueError, match="2 prompts for 1 solutions"):
        scorer.score(PROMPTS, ["a"])
