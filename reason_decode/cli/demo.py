"""``reason-decode demo``: solve one problem greedily and with guidance, step by step."""

import re
from collections.abc import Sequence
from dataclasses import replace

from reason_decode.cli.configs import DemoConfig
from reason_decode.evaluation.complete import Completions
from reason_decode.io.console import in_colour, printable
from reason_decode.serving.from_options import completer_from_options
from reason_decode.strategies import BestOfN
from reason_decode.strategies.from_options import scorer_from_options
from reason_decode.tasks import TASKS, Item, Task, arithmetic_item, chat_prompt, countdown_item

__all__ = ["parse_problem", "run"]


def run(config: DemoConfig, argv: Sequence[str]) -> int:
    """Solve the problem twice and show both solutions with the score of each step."""
    options = config.generation
    task, item = parse_problem(config.problem)
    length = options.max_new_tokens or task.max_new_tokens
    guided = completer_from_options(options, max_new_tokens=length, state_key=task.state_key)
    scorer = scorer_from_options(
        options.scoring, whole_solutions=False, generator=(guided.model, guided.tokenizer)
    )
    plain = replace(
        guided,
        strategy=BestOfN(scorer, tokenizer=guided.tokenizer, n=1),
        temperature=0.0,
        generate_kwargs={},
    )
    print(in_colour(printable(item.prompt.strip()), "bold"))
    prompt = chat_prompt(task, item) if guided.chat else item.prompt
    for title, solve in (("greedy", plain), (f"{options.strategy}, n={options.n}", guided)):
        done = solve([prompt], [0], [item.question])
        print("\n".join(["", title, *_solution(done), _verdict(done, task, item)]))
    return 0


def parse_problem(text: str) -> tuple[Task, Item]:
    """The task and the item of a problem.

    Args:
        text: four numbers, four numbers ``-> target``, or an expression.

    Raises:
        ValueError: the text has none of the three forms.
    """
    match = re.fullmatch(r"\s*((?:[0-9]{1,3}\s+){3}[0-9]{1,3})\s*(?:->\s*(-?[0-9]{1,6})\s*)?", text)
    if match is not None:
        numbers = tuple(int(number) for number in match[1].split())
        return TASKS["game24"], countdown_item(numbers, int(match[2] or 24))
    try:
        return TASKS["bbh-arithmetic"], arithmetic_item(text)
    except ValueError as error:
        raise ValueError(
            f"got the problem {text[:80]!r}; write four whole numbers ('4 5 6 10'), the same with "
            "a target ('4 5 6 10 -> 36'), or an expression of numbers ('(1 + 2) * -3')"
        ) from error


def _solution(done: Completions) -> list[str]:
    assert done.traces is not None
    best = done.traces[0].best
    scores = best.scores if len(best.scores) == len(best.steps) else ()
    lines = [
        f"  {_score(scores[k] if scores else None)}  {printable(step)}"
        for k, step in enumerate(best.steps)
    ]
    return lines + ([] if best.finished else ["        (cut off at the maximum number of tokens)"])


def _score(score: float | None) -> str:
    if score is None:
        return in_colour("   -", "dim")
    colour = "green" if score >= 0.8 else "yellow" if score >= 0.5 else "red"
    return in_colour(f"{score:.2f}", colour)


def _verdict(done: Completions, task: Task, item: Item) -> str:
    assert done.traces is not None
    right = task.grade(item, done.answer(0))
    cost = done.cost
    verdict = in_colour("right", "green") if right else in_colour("wrong", "red")
    votes = done.traces[0].votes
    voted = f"; votes: {', '.join(f'{printable(a)}: {w:g}' for a, w in votes.items())}"
    spent = (
        f"{cost.prefill} prompt tokens read, {cost.sampled} sampled, "
        f"{cost.scorer} read by the scorer"
    )
    return f"  {verdict}{voted if votes else ''}\n  {in_colour(spent, 'dim')}"
