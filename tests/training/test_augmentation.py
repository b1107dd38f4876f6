from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
import torch

from reason_decode import tiny
from reason_decode.training import (
    LabelledSolution,
    SamplingConfig,
    augment,
    grade_samples,
    sample_solutions,
)

SUMS = [
    LabelledSolution(f"({a} + 2) =\n", (), (), answer=str(a + 2), source=f"{a}") for a in range(3)
]
PLENTY = SamplingConfig(n=4, max_new_tokens=64)


@pytest.fixture(scope="module")
def model():
    return tiny.load()


def is_even(problem: LabelledSolution, text: str) -> bool:
    """A check that finds some right and some wrong, whatever their answers are."""
    return len("".join(text.split())) % 2 == 0


def test_samples_are_complete_seeded_and_leave_the_global_rng_alone(model):
    state = torch.random.get_rng_state()
    found = list(sample_solutions(model.model, model.tokenizer, SUMS, PLENTY))
    again = list(sample_solutions(model.model, model.tokenizer, SUMS, PLENTY))
    short = replace(PLENTY, max_new_tokens=2)
    other = list(sample_solutions(model.model, model.tokenizer, SUMS, replace(PLENTY, seed=9)))
    assert found == again != other
    assert torch.equal(torch.random.get_rng_state(), state)
    assert {x.source for x in found} <= {x.source for x in SUMS}
    assert all(x.correct is None and x.answer for x in found)
    assert [*sample_solutions(model.model, model.tokenizer, SUMS, short)] == []
    graded = sample_solutions(model.model, model.tokenizer, SUMS, PLENTY, is_right=is_even)
    assert all(x.correct is is_even(x, "\n".join(x.steps)) for x in graded)


def test_small_batches_sample_every_problem_in_order(model):
    found = list(
        sample_solutions(model.model, model.tokenizer, SUMS, replace(PLENTY, batch_rows=1))
    )
    assert 0 < len(found) <= 12 and [x.prompt for x in found] == sorted(x.prompt for x in found)


def test_augment_adds_new_right_samples(model):
    options: dict[str, Any] = {"config": PLENTY, "is_right": is_even}
    sampled = grade_samples(sample_solutions(model.model, model.tokenizer, SUMS, **options))
    assert sampled.right and sampled.wrong
    known = sampled.right[:1]
    more = augment(model.model, model.tokenizer, known, SUMS, **options)
    assert more[0] == known[0] and len(more) == len(sampled.right)
    assert {(x.prompt, x.steps) for x in more} == {(x.prompt, x.steps) for x in sampled.right}
    # Equal text has been there before, whoever wrote it.
    assert augment(model.model, model.tokenizer, sampled.right, SUMS, **options) == sampled.right


def test_rejects_invalid_arguments(model):
    with pytest.raises(ValueError, match="got n=0"):
        SamplingConfig(n=0)
    tokenizer = deepcopy(model.tokenizer)
    tokenizer.eos_token = None
    with pytest.raises(ValueError, match="without eos_token or pad_token"):
        list(sample_solutions(model.model, tokenizer, SUMS))


def test_batches_are_halved_when_memory_runs_out(model, monkeypatch: pytest.MonkeyPatch):
    generate = model.model.generate
    rows: list[int] = []

    def greedy_for_memory(input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        rows.append(len(input_ids))
        long = "9" in model.tokenizer.batch_decode(input_ids)[0]
        if len(input_ids) > 1 or long:
            raise torch.OutOfMemoryError("out of memory")
        return generate(input_ids=input_ids, **options)

    monkeypatch.setattr(model.model, "generate", greedy_for_memory)
    problems = [*SUMS[:2], LabelledSolution("(9 + 2) =\n", (), (), answer="11", source="9")]
    with pytest.warns(UserWarning, match=r"'\(9 \+ 2\) =\\n' is left out: out of memory"):
        found = list(sample_solutions(model.model, model.tokenizer, problems, PLENTY))
    assert rows == [3, 2, 1, 1, 1] and {x.source for x in found} == {"0", "1"}
