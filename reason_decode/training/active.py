"""Which solutions to label next: those that convince the reward model and should not."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.models.devices import default_device
from reason_decode.scorers.process import ProcessRewardModel
from reason_decode.scorers.reduction import Reduce, reduce_scores
from reason_decode.training.config import PRMConfig
from reason_decode.training.grading import is_right
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.prm import train_prm

__all__ = ["active_learning", "select"]


def select(
    scores: Sequence[float], right: Sequence[bool], k: int, *, wrong_share: float = 0.8
) -> list[int]:
    """The k most convincing of one problem's solutions, most of them with a wrong answer.

    ``round(wrong_share * k)`` of the highest scores among the wrong answers, and as many of the
    highest among all the rest as are missing to k.

    Args:
        scores: one a solution; higher convinces more.
        right: whether its final answer is right.
        k: how many to take; all, if there are no more.
        wrong_share: in [0, 1].

    Returns:
        Their places, the most convincing wrong ones first.

    Raises:
        ValueError: unequal lengths, or a number out of range.

    Source: Lightman et al. 2023, 2305.20050, section 4.2: 80 % of the samples for each problem are
    the most convincing wrong-answer ones, 20 % the most convincing of what remains.

    Examples:
        >>> select([0.9, 0.8, 0.7, 0.1], [True, False, True, False], k=2, wrong_share=0.5)
        [1, 0]
    """
    if len(scores) != len(right) or k < 1 or not 0 <= wrong_share <= 1:
        raise ValueError(
            f"got {len(scores)} scores, {len(right)} verdicts, k={k}, wrong_share={wrong_share}; "
            "there must be one verdict a score, k at least 1 and a share in [0, 1]"
        )
    # A stable sort: of equals the first comes first.
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    wrong = [place for place in order if not right[place]][: round(wrong_share * k)]
    rest = [place for place in order if place not in set(wrong)]
    return [*wrong, *rest[: k - len(wrong)]]


def active_learning(
    model: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    pool: Sequence[LabelledSolution],
    output: str | Path,
    config: PRMConfig | None = None,
    *,
    rounds: int = 3,
    per_problem: int = 2,
    wrong_share: float = 0.8,
    uniform: bool = False,
    selector: str | Path | None = None,
    reduce: Reduce = "prod",
    label: Callable[[Sequence[LabelledSolution]], Sequence[LabelledSolution]] | None = None,
    held_out: Sequence[LabelledSolution] = (),
) -> list[dict[str, Any]]:
    """Label in rounds what the last round's reward model finds most convincing; train; repeat.

    The first round takes one solution of each problem at random, or what a selector finds most
    convincing: one that learnt final answers, say, which take no labels. Each round trains from
    ``model`` on all that was labelled so far, into ``output/round-K``; a run that was stopped skips
    the rounds that are whole. Equal solutions of a problem are labelled once.

    Args:
        model: the model that every round starts from, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        pool: solutions of many problems, several each, of known answers: see ``is_right``.
        output: a folder; ``rounds.jsonl`` there says what each round chose and how it trained.
        config: the settings of each round's training; the seed also draws solutions at random.
        rounds: after the first.
        per_problem: solutions to label, of each problem and in each round.
        wrong_share: see ``select``; of all that a round chooses, if not of each problem's.
        uniform: choose at random instead, to compare with.
        selector: a process reward model, of the same format, that chooses in the first round,
            ``per_problem`` of each problem.
        reduce: step scores as one number.
        label: labels what was chosen, as people or a larger model do; ``None``: it has labels.
        held_out: labelled solutions whose loss is measured after every epoch.

    Returns:
        A row a round: ``round``, ``solutions``, ``labels`` (steps), and what ``train_prm`` returns.

    Raises:
        ValueError: a solution whose answer nobody knows to be right or wrong, or a selector that is
            to choose at random.

    Source: Lightman et al. 2023, 2305.20050, section 4.2, which retrains its selector once.
    """
    config, out = config or PRMConfig(), Path(output)
    if uniform and selector is not None:
        raise ValueError(
            f"got uniform=True and selector={str(selector)!r}; what is chosen at random is chosen "
            "by no model: leave one of them out"
        )
    verdicts = [is_right(solution) for solution in pool]
    if None in verdicts:
        first = pool[verdicts.index(None)]
        raise ValueError(
            f"got a solution of {first.prompt!r} ({first.source}) of which nobody knows if its "
            "answer is right; active learning chooses by that: leave it out, or set correct"
        )
    done = _read(out / "rounds.jsonl")
    chosen = {place for row in done for place in row["chosen"]}
    for turn in range(len(done), rounds + 1):
        order = list(range(len(pool)))
        last = out / f"round-{turn - 1}" if turn else selector
        judge = None if uniform else last
        if judge is None:
            random.Random(f"{config.seed}/{turn}").shuffle(order)
        problems = _open(pool, order, chosen)
        if judge is None:
            count = 1 if turn == 0 else per_problem
            new = [place for each in problems.values() for place in each[:count]]
        else:
            scores = _scores(judge, pool, problems, reduce, config)
            new, due = [], wrong_share * per_problem
            for count, (prompt, places) in enumerate(problems.items()):
                right = [bool(verdicts[x]) for x in places]
                # Of one or two solutions of a problem 80 % is all: the share is kept over problems.
                share = (round(due * (count + 1)) - round(due * count)) / per_problem
                best = select(scores[prompt], right, per_problem, wrong_share=share)
                new += [places[k] for k in best]
        chosen.update(new)
        taken = [pool[x] for x in sorted(chosen)]
        taken = list(taken if label is None else label(taken))
        seeded = replace(config, seed=config.seed + turn)
        folder = out / f"round-{turn}"
        result = train_prm(model, tokenizer, taken, folder, seeded, held_out=held_out)
        done.append({"round": turn, "solutions": len(taken), **result, "chosen": sorted(new)})
        with (out / "rounds.jsonl").open("a") as log:
            log.write(json.dumps(done[-1]) + "\n")
    return done


def _open(
    pool: Sequence[LabelledSolution], order: Sequence[int], chosen: set[int]
) -> dict[str, list[int]]:
    """The solutions that nobody labelled yet, by problem: of equal ones the first of the order."""
    seen = {(pool[place].prompt, pool[place].steps) for place in chosen}
    # In the pool's own order, which does not depend on the draw.
    problems: dict[str, list[int]] = {solution.prompt: [] for solution in pool}
    for place in order:
        told = pool[place].prompt, pool[place].steps
        if told not in seen:
            seen.add(told)
            problems[pool[place].prompt].append(place)
    return {prompt: places for prompt, places in problems.items() if places}


def _scores(
    folder: str | Path,
    pool: Sequence[LabelledSolution],
    problems: dict[str, list[int]],
    reduce: Reduce,
    config: PRMConfig,
) -> dict[str, list[float]]:
    """What a reward model thinks of the solutions that are still open, by problem."""
    prm = ProcessRewardModel.from_pretrained(folder, format=config.head, separator=config.separator)
    model: Any = prm.model  # transformers types .to() so that it takes no device
    model.to(default_device())  # where it was trained
    places = [place for each in problems.values() for place in each]
    steps = prm.score([pool[x].prompt for x in places], [list(pool[x].steps) for x in places])
    flat = iter(reduce_scores(steps, reduce).tolist())
    return {prompt: [next(flat) for _ in each] for prompt, each in problems.items()}


def _read(path: Path) -> list[dict[str, Any]]:
    """The rounds that are whole; a line that was cut off is none."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
