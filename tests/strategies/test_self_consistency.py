import torch

from reason_decode import ReasoningOutput, SelfConsistency, extract_answer
from reason_decode.tiny import Tiny
from reason_decode.voting import majority

PROMPT = "((1 + 2 * -3) - (4 * 5)) =\n"


def _run(tiny: Tiny, strategy: SelfConsistency) -> ReasoningOutput:
    inputs = tiny.tokenizer([PROMPT], return_tensors="pt")
    torch.manual_seed(0)
    out = tiny.model.generate(
        **inputs,
        max_new_tokens=150,
        do_sample=True,
        custom_generate=strategy,
        return_dict_in_generate=True,
    )
    assert isinstance(out, ReasoningOutput) and out.traces is not None
    return out


def test_the_majority_wins_and_its_first_voter_is_returned(tiny: Tiny) -> None:
    out = _run(tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=9))
    (trace,) = out.traces
    answers = [extract_answer(c.text) for c in trace.candidates]
    vote = majority(answers)
    assert trace.votes == vote.weights
    assert trace.best.answer == vote.answer
    assert trace.chosen == (vote.members[0],)
    assert tiny.tokenizer.decode(out.sequences[0], skip_special_tokens=True) == PROMPT + trace.best.text


def test_weighed_votes_are_sums_of_scores(tiny: Tiny) -> None:
    (trace,) = _run(tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=9, weigh=tiny.prm)).traces
    total = sum(c.total for c in trace.candidates if c.answer is not None)
    torch.testing.assert_close(sum(trace.votes.values()), total)
    assert trace.votes[trace.best.answer] == max(trace.votes.values())


def test_without_any_answer_the_first_candidate_is_returned(tiny: Tiny) -> None:
    strategy = SelfConsistency(tokenizer=tiny.tokenizer, n=3, answers=lambda text: None)
    (trace,) = _run(tiny, strategy).traces
    assert trace.chosen == (0,)
    assert trace.votes == {}
