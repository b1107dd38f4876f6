import random
import re

import pytest
import torch

from examples.tiny import chain_batch, chains
from examples.tiny.batch import NO_DIGIT, RIGHT, WRONG
from examples.tiny.mixtures import Mixture, MixtureDataset
from reason_decode import tiny
from reason_decode.core.answers import evaluate
from reason_decode.training.examples import IGNORE

# The text around the expressions of a line.
AROUND = re.compile(r"^.* = |\. So the answer is .*$|\.$")


def expressions(chain: chains.Chain) -> list[str]:
    return [AROUND.sub("", text) for text in chain.texts]


def problems(count: int, flawed: float) -> list[chains.Problem]:
    rng = random.Random(3)
    makers = (chains.problem, chains.drill)
    return [makers[k % 2](rng, flawed) for k in range(count)]


@pytest.mark.parametrize("flawed", [0.0, 0.5, 1.0])
def test_a_line_is_right_up_to_its_first_unequal_expression(flawed):
    lines = [chain for problem in problems(150, flawed) for chain in problem.chains]
    for line in lines:
        values = [evaluate(x) for x in expressions(line)]
        assert values == list(line.values)
        # A line that starts with a miscopied number is wrong from its first expression.
        if line.right[0]:
            assert line.right == tuple(
                set(values[: k + 1]) == {values[0]} for k in range(len(values))
            )
    wrong = sum(not all(line.right) for line in lines) / len(lines)
    assert wrong == flawed if flawed in (0, 1) else 0.4 < wrong < 0.6


def test_a_problem_has_a_plan_a_chain_for_each_part_and_an_answer():
    for problem in problems(60, 0.0)[::2]:
        assert problem.plan is not None
        whole = evaluate(problem.prompt.removesuffix(" =\n"))
        plan, listed = problem.plan.split('", where ')
        named = dict(re.findall(r"([A-D]) = (.*?)(?=,? and [A-D] =|, [A-D] =|\.$)", listed))
        *parts, last = problem.chains
        for letter, part in zip("ABCD", parts, strict=False):
            assert part.texts[0] == f"Let's calculate {letter} = {named[letter]}"
        assert f"So the answer is {last.values[-1]}" in last.texts[-1]
        assert plan.split('"')[1] in last.texts[0]
        # Like the large model, some plans drop the outer brackets of a difference.
        assert whole == last.values[-1] or len(parts) == 3


def test_each_equals_sign_has_a_verdict_and_a_value():
    words = tiny.load().tokenizer
    made = problems(20, 0.5)
    batch = chain_batch.collate(made, words)
    for row, problem in enumerate(made):
        places = (batch.verdicts[row] != IGNORE).nonzero()[:, 0].tolist()
        verdicts = batch.verdicts[row, places].tolist()
        text = words.batch_decode(batch.ids[row, places][:, None])
        expected: list[tuple[str, int]] = [("\n", RIGHT)] if problem.plan else []
        for line in problem.chains:
            marks = [" ="] * (len(line.right) - 1) + ["."]
            expected += [(m, RIGHT if x else WRONG) for m, x in zip(marks, line.right, strict=True)]
            expected.append(("\n", RIGHT if all(line.right) else WRONG))
        assert [*zip(text, verdicts, strict=True)] == expected
        valued = batch.values[row][batch.values[row, :, 0] != IGNORE].tolist()
        flat = [value for line in problem.chains for value in line.values]
        assert valued == [chain_batch.value_digits(value) for value in flat]


def test_value_digits_start_with_the_sign_and_the_last_digit():
    assert chain_batch.value_digits(-40) == [1, 0, 4, 0, 0, 0]
    assert chain_batch.value_digits(7) == [0, 7, 0, 0, 0, 0]
    assert chain_batch.value_digits(123456) == [0, *[NO_DIGIT] * 5]


def test_a_mixture_with_chains_gives_batches_of_chains():
    words = tiny.load().tokenizer
    mixture = Mixture(countdown=4, arithmetic=0, chains=2, drills=4)
    one, two = (MixtureDataset(words, ((0, mixture),), 5)[3] for _ in range(2))
    assert sum(bool((batch.values != IGNORE).any()) for batch in one) == 3
    for a, b in zip(one, two, strict=True):
        assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
