"""``reason-decode demo``: one problem, solved greedily and with guidance, step by step."""

import re
from argparse import ArgumentParser, Namespace
from typing import Any

import torch

from reason_decode.cli.options import GUIDED, add_decoding, check_decoding, make_strategy
from reason_decode.evaluation.complete import Completions, complete
from reason_decode.io.console import in_colour, printable
from reason_decode.models.loading import load_model
from reason_decode.scorers.loading import load_scorer
from reason_decode.strategies import BestOfN
from reason_decode.tasks import TASKS, Item, Task, arithmetic_item, countdown_item

__all__ = ["add", "parse_problem", "run"]

PROBLEM = "1 4 4 8"


def add(commands: Any) -> None:
    """Add the subcommand."""
    parser: ArgumentParser = commands.add_parser(
        "demo", help="watch guidance mend one solution", description=__doc__
    )
    parser.add_argument(
        "--problem",
        default=PROBLEM,
        help="four numbers that are to make 24 ('4 5 6 10') or another number "
        f"('4 5 6 10 -> 36'), or an expression to work out (default: {PROBLEM})",
    )
    parser.add_argument("--max-new-tokens", type=int, help="tokens a solution may have")
    add_decoding(parser, strategy="step-search", choices=GUIDED)
    parser.set_defaults(run=run)


def run(args: Namespace) -> int:
    """Solve the problem twice and show both solutions with the score of each step."""
    check_decoding(args)
    task, item = parse_problem(args.problem)
    model, tokenizer = load_model(args.model)
    plain = BestOfN(load_scorer(args.prm), tokenizer=tokenizer, n=1)
    guided = make_strategy(args, tokenizer, task.state_key)
    print(in_colour(printable(item.prompt.strip()), "bold"))
    for title, strategy, temperature in (
        ("greedy", plain, 0.0),
        (f"{args.strategy}, n={args.n}", guided, args.temperature),
    ):
        torch.manual_seed(args.seed)
        done = complete(
            model,
            tokenizer,
            strategy,
            [item.prompt],
            max_new_tokens=args.max_new_tokens or task.max_new_tokens,
            temperature=temperature,
        )
        print("\n".join(["", title, *_solution(done), _verdict(done, task, item)]))
    return 0


def parse_problem(text: str) -> tuple[Task, Item]:
    """The task and the problem that a user wrote down.

    Raises:
        ValueError: it is of none of the three forms.
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
    return lines + ([] if best.finished else ["        (cut off by the token budget)"])


def _score(score: float | None) -> str:
    if score is None:
        return in_colour("   -", "dim")
    colour = "green" if score >= 0.8 else "yellow" if score >= 0.5 else "red"
    return in_colour(f"{score:.2f}", colour)


def _verdict(done: Completions, task: Task, item: Item) -> str:
    assert done.traces is not None
    right = task.grade(item, done.texts[0])
    cost = done.cost
    verdict = in_colour("right", "green") if right else in_colour("wrong", "red")
    votes = done.traces[0].votes
    voted = f"; votes: {', '.join(f'{printable(a)}: {w:g}' for a, w in votes.items())}"
    spent = (
        f"{cost.prefill} prompt tokens read, {cost.sampled} sampled, "
        f"{cost.scorer} read by the scorer"
    )
    return f"  {verdict}{voted if votes else ''}\n  {in_colour(spent, 'dim')}"
