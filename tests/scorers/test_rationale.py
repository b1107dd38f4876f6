from typing import Any

import pytest
import torch

from reason_decode import RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "Make 11 from 1 2.\n"]
STEPS = [
    ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 30 (left: 6 30)"],
    ["10 - 4 = 7 (left: 5 6 7)"],
    ["1 + 2 = 3 (left: 3)", "Answer: 1 + 2 = 11"],
]
PAIRS = [PROMPTS[0], PROMPTS[0], PROMPTS[1]]


def _scorer(tiny: Tiny, **how: Any) -> RationaleScorer:
    writer = RationaleWriter(tiny.model, tiny.tokenizer, chat=False, max_new_tokens=12)
    return RationaleScorer(writer, chat=False, **how)


def _logps(tiny: Tiny, before: str, step: str) -> torch.Tensor:
    """Log-probabilities of a step's tokens, all logits at once."""
    tokenizer: Any = tiny.tokenizer
    head = tokenizer(before)["input_ids"]
    ids = tokenizer(before + step + "\n")["input_ids"]
    with torch.no_grad():
        logps = tiny.model(torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
    return logps.gather(-1, torch.tensor(ids[1:])[:, None])[len(head) - 1 :, 0]


def _plain(
    tiny: Tiny,
    prompt: str,
    steps: list[str],
    discount: float,
    length_normalize: bool,
) -> list[tuple[float, float]]:
    """As published: write a rationale, read all again with it before the step, or without."""
    tokenizer: Any = tiny.tokenizer
    scores: list[tuple[float, float]] = []
    text = prompt
    for step in steps:
        ids = tokenizer(text + "<BOT>", return_tensors="pt")["input_ids"]
        written = tiny.model.generate(ids, max_new_tokens=12, do_sample=False)[0, ids.shape[1] :]
        rationale = (
            tokenizer.decode(written, skip_special_tokens=True).partition("<EOT>")[0].strip()
        )
        assert rationale
        logp_with = _logps(tiny, f"{text}<BOT>{rationale}<EOT>", step)
        logp_without = _logps(tiny, text, step)
        assert len(logp_without) == len(logp_with)
        weights = discount ** torch.arange(len(logp_with))
        weights /= weights.sum() if length_normalize else 1
        scores.append((float(weights @ logp_with), float(weights @ logp_without)))
        text += step + "\n"
    return scores


@pytest.mark.numeric
@pytest.mark.parametrize("contrastive", [False, True])
@pytest.mark.parametrize(("discount", "length_normalize"), [(1.0, True), (0.9, True), (0.9, False)])
def test_equals_reading_everything_again(
    tiny: Tiny, discount: float, contrastive: bool, length_normalize: bool
) -> None:
    scorer = _scorer(
        tiny, discount=discount, contrastive=contrastive, length_normalize=length_normalize
    )
    plain = [
        _plain(tiny, *pair, discount, length_normalize) for pair in zip(PAIRS, STEPS, strict=True)
    ]
    expected = [torch.tensor([a - b * contrastive for a, b in scores]) for scores in plain]
    # All terms are below 0, so that the sums are also those of the magnitudes.
    scale = max(-a - b * contrastive for scores in plain for a, b in scores)
    found = scorer.score(PAIRS, STEPS)
    assert_close(found, expected, terms=roundings(tiny.model), scale=scale)


@pytest.mark.numeric
def test_a_session_scores_as_the_stateless_call(tiny: Tiny) -> None:
    scorer = _scorer(tiny)
    session = scorer.start_session(PROMPTS)
    first = session.score([[STEPS[0][:1], STEPS[1]], [STEPS[2][:1]]])
    session.select([(1, 0), (0, 0)])
    assert all(session.before_round())
    second = session.score([[STEPS[2][1:]], [STEPS[0][1:], []]])
    assert second[1][1].shape == (0,)
    whole = scorer.score(PAIRS, STEPS)
    for new, k in ((first[0][1], 1), (second[0][0], 2), (second[1][0], 0)):
        assert_close(new, whole[k][-len(new) :], terms=roundings(tiny.model))


def test_a_rationale_is_written_once_for_all_candidates(tiny: Tiny) -> None:
    scorer = _scorer(tiny)
    session = scorer.start_session(PROMPTS[:1])
    written = session.before_round()
    assert session.tokens_written == 12
    before = session.tokens_read
    session.score([[STEPS[0][:1], STEPS[1]]])
    tokenizer: Any = tiny.tokenizer
    steps = [STEPS[0][0], STEPS[1][0]]
    read = sum(len(tokenizer(f"{x}\n", add_special_tokens=False)["input_ids"]) for x in steps)
    assert session.tokens_read == before + read
    session.select([(0, 0)])
    assert session.before_round() != written


def test_rejects_invalid_arguments(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="discount=0"):
        _scorer(tiny, discount=0)
    with pytest.raises(ValueError, match="pass both or none"):
        _scorer(tiny, model=tiny.model)
    with pytest.raises(ValueError, match="blank step"):
        _scorer(tiny).score(PROMPTS[:1], [[" "]])
    with pytest.raises(ValueError, match="2 prompts for 1 solutions"):
        _scorer(tiny).score(PROMPTS, [["a"]])


def test_max_steps_counts_the_positions_of_both_models(tiny: Tiny) -> None:
    scorer = _scorer(tiny)
    steps = ["1 + 1 = 2"] * 300
    count = scorer.max_steps(PROMPTS[0], steps)
    assert 0 < count < 300 and scorer.max_steps(PROMPTS[0], steps[:count]) == count
    tokenizer: Any = tiny.tokenizer
    text = PROMPTS[0] + "1 + 1 = 2\n" * count
    assert len(tokenizer(text)["input_ids"]) + 12 <= 1024 < len(tokenizer(text * 2)["input_ids"])


def test_a_saved_scorer_keeps_its_chat(tiny: Tiny) -> None:
    assert _scorer(tiny).settings()["chat"] is False


def test_a_rationale_is_as_long_as_asked_for_or_as_the_model_says(tiny: Tiny, tmp_path: Any):
    tiny.model.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)

    def most(**how: Any) -> Any:
        return RationaleScorer.from_pretrained(tmp_path, **how).settings()["max_new_tokens"]

    assert (most(), most(max_new_tokens=7)) == (64, 7)
    config = tiny.model.generation_config.__class__.from_pretrained(tmp_path)
    config.max_new_tokens = 120
    config.save_pretrained(tmp_path)
    assert (most(), most(max_new_tokens=7)) == (120, 7)
