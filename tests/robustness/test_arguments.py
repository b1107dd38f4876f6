"""Invalid arguments of strategies, scorers, processors, votes and calls of ``generate``.

Tested elsewhere: n=0 and an unknown reduction (test_best_of_n.py), a beam that
is no multiple of its subtrees, a negative margin (test_step_search.py), an unknown supervision
(test_rationale_guided.py), max_tokens below the candidates (test_max_tokens.py), num_beams,
use_cache, a static cache and output_scores (test_best_of_n.py), weights of votes (test_voting.py).
"""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LogitsProcessor,
    T5Config,
    T5ForConditionalGeneration,
)

from reason_decode import (
    BestOfN,
    LikelihoodScorer,
    NegativeContrastLogitsProcessor,
    OutcomeRewardModel,
    ProcessRewardModel,
    RankingModel,
    RationaleGuided,
    RationaleScorer,
    SelfConsistency,
    StepRewardLogitsProcessor,
    StepSearch,
    StepSplitter,
    extract_answer,
    same_answer,
)
from reason_decode.core.voting import majority_vote
from reason_decode.scorers import RationaleWriter, TokenClassification
from reason_decode.strategies.load import generate_from_settings
from reason_decode.tiny import WEIGHTS, Tiny
from reason_decode.training.labels import label_by_scorer

PROMPT, SOLUTION = "1 + 2 =\n", "1 + 2 = 3\n3"


def of(strategy: Any, *scorer: Callable[[Tiny], Any], **arguments: Any) -> Callable[[Tiny], Any]:
    """A function from the tiny models to the strategy with these arguments."""
    return lambda t: strategy(
        *[make(t) for make in scorer], **{"tokenizer": t.tokenizer, **arguments}
    )


def raw_orm(t: Tiny) -> OutcomeRewardModel:
    model = AutoModelForSequenceClassification.from_pretrained(WEIGHTS / "base", num_labels=1)
    return OutcomeRewardModel(model, t.tokenizer, raw=True)


def log_probability_scorer(t: Tiny) -> RationaleScorer:
    return RationaleScorer(RationaleWriter(t.model, t.tokenizer))


def untyped_score(t: Tiny) -> Any:
    """``score`` without its types."""
    return t.prm.score


def t5(t: Tiny) -> LikelihoodScorer:
    config = T5Config(vocab_size=len(t.tokenizer), d_model=8, d_kv=4, d_ff=8, num_layers=1)
    return LikelihoodScorer(T5ForConditionalGeneration(config), t.tokenizer)


PRM: Callable[[Tiny], Any] = lambda t: t.prm  # noqa: E731
INVALID: dict[str, tuple[Callable[[Tiny], Any], str]] = {
    "n is true": (of(BestOfN, PRM, n=True), "got n=True; pass a whole number"),
    "n is text": (of(BestOfN, PRM, n="3"), "got n='3'; pass a whole number"),
    "no tokenizer": (of(BestOfN, PRM, tokenizer=None), "got tokenizer=None; pass the gen"),
    "a tokenizer's name": (of(StepSearch, PRM, tokenizer="gpt2"), "AutoTokenizer.from_pretr"),
    "a scorer's name": (of(BestOfN, lambda t: "Qwen/x"), "got scorer='Qwen/x'; pass a loaded"),
    "a model as scorer": (of(StepSearch, lambda t: t.model), "pass a loaded scorer"),
    "a class as scorer": (of(BestOfN, lambda t: ProcessRewardModel), "pass a loaded scorer"),
    "no tokens": (of(BestOfN, PRM, max_tokens=0), "got max_tokens=0; pass a whole"),
    "no steps": (of(StepSearch, PRM, max_steps=0), "got max_steps=0; pass a whole"),
    "lookahead below 0": (of(StepSearch, PRM, lookahead=-1), "got lookahead=-1"),
    "half a lookahead": (of(StepSearch, PRM, lookahead=1.5), "got lookahead=1.5"),
    "margin is no number": (of(StepSearch, PRM, margin=math.nan), "got margin=nan; need 0 or more"),
    "margin is text": (of(StepSearch, PRM, margin="1"), "got margin='1'; need 0 or more"),
    "state_key is text": (of(StepSearch, PRM, state_key="a"), "got state_key='a'; pass a function"),
    "weighed by a name": (of(SelfConsistency, scorer="prm"), "got scorer='prm'; pass a loaded"),
    "extract_answer is text": (
        of(SelfConsistency, extract_answer="x"),
        "got extract_answer='x'; pass a function",
    ),
    "early_stop is no number": (
        of(SelfConsistency, early_stop=math.nan),
        "got early_stop=nan; allowed are 'dec",
    ),
    "rationales of a PRM": (of(RationaleGuided, PRM), "writes no rationales; pass a RationaleS"),
    "a streamer's name": (of(BestOfN, PRM, streamer="x"), r"got streamer='x'; pass one with put"),
    "weighed by nats": (
        lambda t: SelfConsistency(
            tokenizer=t.tokenizer, scorer=log_probability_scorer(t), vote_weighting="1+s"
        ),
        "log-probabilities of RationaleScorer, which are negative, and a vote weighs 0 or more",
    ),
    "weighed by raw rewards": (
        lambda t: SelfConsistency(tokenizer=t.tokenizer, scorer=raw_orm(t)),
        "got rewards of OutcomeRewardModel to weigh votes, which may be negative",
    ),
    "one prompt as text": (lambda t: t.prm.score("ab", ["x", "y"]), r"prompts=\['ab'\]"),
    "one solution as text": (lambda t: t.prm.score(["p"], "x"), r"solutions=\['x'\]"),
    "a prompt is none": (
        lambda t: untyped_score(t)([None], ["x"]),
        "got None as prompt 0; need text",
    ),
    "a step is a number": (
        lambda t: untyped_score(t)(["p"], [[3]]),
        "got 3 as step 0 of solution 0",
    ),
    "a solution is none": (lambda t: untyped_score(t)(["p"], [None]), "got None as solution 0"),
    "half a character": (
        lambda t: t.prm.score(["\ud800"], ["x"]),
        "got prompt 0 with half a character .*errors='replace'",
    ),
    "half a character, in a session": (
        lambda t: t.prm.start_session(["p"]).score([[["a \udfff"]]]),
        "step 0 of solution 0 with half a character",
    ),
    "batches of no token": (
        lambda t: LikelihoodScorer(t.model, t.tokenizer, batch_tokens=0),
        "got batch_tokens=0; pass a whole number",
    ),
    "batches below no token": (
        lambda t: TokenClassification(t.prm.model, t.tokenizer, batch_tokens=-5),
        "got batch_tokens=-5; pass a whole number",
    ),
    "separator is a number": (lambda t: StepSplitter(3), "got separator=3; pass the text"),  # pyright: ignore
    "a model's name as model": (
        lambda t: TokenClassification("you/prm", t.tokenizer),  # pyright: ignore
        "got 'you/prm' as the model; pass a loaded one, or load both by from_pretrained",
    ),
    "no model": (
        lambda t: RankingModel(None, t.tokenizer),  # pyright: ignore
        "got None as the model",
    ),
    "a body without an output layer": (
        lambda t: LikelihoodScorer(t.model.base_model, t.tokenizer),
        "no output layer; pass a causal language model",
    ),
    "an encoder-decoder": (t5, "an encoder-decoder; pass a decoder-only model"),
    "a discount that is no number": (
        lambda t: RationaleScorer(RationaleWriter(t.model, t.tokenizer), discount=math.nan),
        "got discount=nan; need more than 0",
    ),
    "a contrast that is no number": (
        lambda t: NegativeContrastLogitsProcessor(t.model, weight=math.nan),
        "got weight=nan; need a finite number",
    ),
    "a reward that weighs no number": (
        lambda t: StepRewardLogitsProcessor(t.prm, t.tokenizer, weight=math.nan),
        "got weight=nan; need a finite number",
    ),
    "labels by no number": (
        lambda t: next(label_by_scorer([], t.prm, threshold=math.nan)),
        "got threshold=nan .* need a finite threshold",
    ),
    "labels in batches below 1": (
        lambda t: next(label_by_scorer([], t.prm, batch_size=-1)),
        "batch_size=-1; need .* batches of at least 1",
    ),
    "an answer that is no text": (
        lambda t: majority_vote(["1", ["2"]]),  # pyright: ignore
        r"candidate 1 has the answer \['2'\]; need text or None",
    ),
    "a published strategy without a tokenizer": (
        lambda t: generate_from_settings(
            {"class": "reason_decode:BestOfN", "arguments": {}}, GPT2LMHeadModel(small())
        ),
        "loaded from nowhere, so its tokenizer is not known; pass tokenizer=",
    ),
}


@pytest.mark.parametrize("case", INVALID)
def test_invalid_arguments_are_rejected_when_they_are_passed(tiny: Tiny, case: str):
    # Regression: True counted as a number, a name as a scorer, a PRM as a rationale scorer and a
    # text as a list of letters; a vote with log-probabilities failed after all was sampled.
    make, message = INVALID[case]
    with pytest.raises(ValueError, match=message):
        make(tiny)


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda: extract_answer(None), "got None; extract_answer reads the text"),  # pyright: ignore
        (lambda: extract_answer(b"#### 1"), "extract_answer reads the text"),  # pyright: ignore
        (lambda: same_answer(None, "1"), "need two texts. A solution without an answer"),  # pyright: ignore
    ],
    ids=["no text", "bytes", "no answer"],
)
def test_answers_are_extracted_from_text_only(read: Callable[[], Any], message: str):
    # Regression: the message was "'NoneType' object has no attribute 'strip'".
    with pytest.raises(TypeError, match=message):
        read()


def small(positions: int = 16) -> GPT2Config:
    return GPT2Config(
        vocab_size=327, n_embd=8, n_layer=1, n_head=1, n_positions=positions, bos_token_id=1,
        eos_token_id=2, pad_token_id=0,
    )  # fmt: skip


LONG = torch.full((1, 4), 5)
CALLS: dict[str, tuple[dict[str, Any], str]] = {
    "no sequences": ({"num_return_sequences": 0}, "num_return_sequences=0; need at least 1"),
    "fewer sequences": ({"num_return_sequences": -1}, "num_return_sequences"),
    "contrastive search": ({"penalty_alpha": 0.5, "top_k": 4}, "asks for contrastive search and"),
    "DoLa": ({"dola_layers": "high"}, "dola_layers='high', which asks for DoLa"),
    "forced words": ({"force_words_ids": [[3]]}, "Drop force_words_ids, or custom_generate"),
    "prompt lookup": ({"prompt_lookup_num_tokens": 2}, "asks for assisted decoding"),
    "an unknown word": ({"foo": 1}, "not used by the model: .'foo'."),
    "no new tokens": ({"max_new_tokens": 0}, "greater than 0, but is 0"),
    "fewer new tokens": ({"max_new_tokens": -1}, "greater than 0, but is -1"),
    "no room": ({"max_new_tokens": None, "max_length": 3}, "`max_length` is set to 3"),
    "temperature 0": ({"temperature": 0.0}, "strictly positive float"),
    "no temperature": ({"temperature": math.nan}, "strictly positive float"),
    "temperature next to 0": ({"temperature": 1e-40}, "NaN or infinity.* a temperature next to 0"),
    "no prompts": ({"input_ids": LONG[:0]}, r"input_ids of shape \(0, 4\); pass at least one pr"),
    "a prompt of nothing": ({"input_ids": LONG[:, :0]}, "at least one token"),
    "half tokens": ({"input_ids": LONG / 2}, "input_ids of torch.float32; pass whole numbers"),
    "a token too many": ({"input_ids": LONG + 322}, "ids 327 to 327 .* has 327 tokens, from 0"),
    "a token below 0": ({"input_ids": LONG - 6}, "ids -1 to -1"),
    "a mask of zeros": ({"attention_mask": LONG * 0}, "without a 1 in row 0; every prompt needs"),
    "a mask too long": ({"attention_mask": torch.tensor([[0, 1, 1, 1, 1]])}, r"shape \(1, 5\) for"),
    "a mask too short": ({"attention_mask": torch.tensor([[0, 1]])}, r"of shape \(1, 2\) for"),
    "padded on the right": (
        {"attention_mask": torch.tensor([[1, 1, 0, 0]])},
        r"pad on the left \(padding_side='left'\)",
    ),
    "a hole": ({"attention_mask": torch.tensor([[0, 1, 0, 1]])}, "after or between their tokens"),
}


@pytest.mark.parametrize("case", CALLS)
def test_invalid_calls_are_rejected_before_any_forward_pass(tiny: Tiny, case: str):
    # Regression: other decoding methods were ignored silently, prompts padded on the right were
    # continued after their padding, and ids out of range were an IndexError (on a GPU, the end of
    # the process).
    arguments, message = CALLS[case]
    read: list[int] = []
    hook = tiny.model.register_forward_hook(lambda *_: read.append(1))
    call = {"input_ids": LONG, "do_sample": True, "max_new_tokens": 4, **arguments}
    strategy = SelfConsistency(tokenizer=tiny.tokenizer, n=2)
    try:
        with pytest.raises(ValueError, match=message):
            tiny.model.generate(**call, custom_generate=strategy)
    finally:
        hook.remove()
    # Scores that cannot be sampled from are only known after a forward pass.
    assert len(read) == (case == "temperature next to 0")


def test_too_many_tokens_for_learned_positions_are_rejected(tiny: Tiny):
    # Regression: with more tokens than positions, GPT-2 sampled up to the last position and then
    # raised an IndexError, and everything was lost.
    model = GPT2LMHeadModel(small()).eval()
    vote = SelfConsistency(tokenizer=tiny.tokenizer, n=2)
    call = {"input_ids": LONG, "do_sample": True, "custom_generate": vote}
    with pytest.raises(ValueError, match="table of 16 positions .* max_new_tokens of at most 12"):
        model.generate(**call, max_new_tokens=10**9)  # pyright: ignore
    assert model.generate(**call, max_new_tokens=12).shape == (1, 16)  # pyright: ignore
    scorer = LikelihoodScorer(model, tiny.tokenizer, chat=False)
    with pytest.raises(ValueError, match="table of 16 positions and cannot read on: pass shorter"):
        scorer.score([PROMPT], [SOLUTION * 9])


def test_a_time_limit_allows_any_number_of_tokens(tiny: Tiny):
    vote = SelfConsistency(tokenizer=tiny.tokenizer, n=2)
    out = tiny.model.generate(
        LONG, do_sample=True, max_new_tokens=10**12, max_time=0.0, custom_generate=vote
    )
    assert out.shape == (1, 5)


def test_an_unhashable_state_key_is_rejected(tiny: Tiny):
    # Regression: the search failed with "unhashable type: 'list'".
    search = StepSearch(t := tiny.prm, tokenizer=tiny.tokenizer, n=2, state_key=list)  # pyright: ignore
    assert search.scorer is t
    with pytest.raises(TypeError, match="got a list from state_key, .* return a tuple"):
        tiny.model.generate(LONG, do_sample=True, max_new_tokens=4, custom_generate=search)


class ConstantScores(LogitsProcessor):
    """Replaces every score by one number."""

    def __init__(self, score: float) -> None:
        self.score = score

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return torch.full_like(scores, self.score)


@pytest.mark.parametrize("sample", [True, False], ids=["sampled", "greedy"])
@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf])
def test_nan_and_infinite_scores_are_rejected(tiny: Tiny, score: float, sample: bool):
    # Regression: with NaN scores greedy decoding took the first token silently, and sampling failed
    # with "probability tensor contains inf, nan" or, on a GPU, a device assertion.
    best = BestOfN(tiny.prm, tokenizer=tiny.tokenizer, n=1)
    with pytest.raises(
        ValueError, match="token 1 that hold NaN or infinity, or rule out every token, in"
    ):
        tiny.model.generate(
            LONG,
            do_sample=sample,
            max_new_tokens=4,
            logits_processor=[ConstantScores(score)],
            custom_generate=best,
        )


def test_a_ranking_model_takes_a_body_without_head(tiny: Tiny):
    body = AutoModel.from_pretrained(WEIGHTS / "base")
    (score,) = RankingModel(body, tiny.tokenizer).score([PROMPT], [SOLUTION])
    assert score.shape == (1,)
