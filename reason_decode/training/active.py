"""Active learning: label in rounds the solutions that the last reward model is most wrong about."""

import json
import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from shutil import rmtree
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.io.jsonl import write_json
from reason_decode.models.devices import default_device
from reason_decode.runs.options import RunOptions
from reason_decode.runs.resumable import ResumableRun
from reason_decode.runs.settings import run_settings
from reason_decode.scorers.base import reduce_scores
from reason_decode.scorers.process import ProcessRewardModel
from reason_decode.training.active_config import ActiveLearningConfig
from reason_decode.training.active_labels import with_labels, write_to_label
from reason_decode.training.config import PRMConfig
from reason_decode.training.grading import is_right, warn_of_none_right
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.prm import train_prm

__all__ = ["active_learning", "select_convincing"]

_log = logging.getLogger(__name__)

Label = Callable[[Sequence[LabelledSolution]], Sequence[LabelledSolution]]
"""Solutions without labels -> the same ones with labels."""


def select_convincing(
    scores: Sequence[float], is_right: Sequence[bool], k: int, *, wrong_share: float = 0.8
) -> list[int]:
    """Indices of the k most convincing solutions of a problem, most of them with a wrong answer.

    ``round(wrong_share * k)`` of the highest scores among the wrong answers, and the highest scores
    among all other solutions up to k.

    Args:
        scores: score of each solution; higher is more convincing.
        is_right: whether the final answer of each solution is right.
        k: number of solutions to select; all, if there are fewer.
        wrong_share: share of wrong answers, in [0, 1].

    Returns:
        The most convincing wrong ones first.

    Raises:
        ValueError: unequal lengths, or a number out of range.

    Source: Lightman et al. 2023, 2305.20050, section 4.2: 80 % of the samples of each problem are
    the most convincing wrong-answer ones, 20 % the most convincing of the others.

    Examples:
        >>> from reason_decode.training import select_convincing
        >>> right = [True, False, True, False]
        >>> select_convincing([0.9, 0.8, 0.7, 0.1], right, k=2, wrong_share=0.5)
        [1, 0]
    """
    if len(scores) != len(is_right) or k < 1 or not 0 <= wrong_share <= 1:
        raise ValueError(
            f"got {len(scores)} scores, {len(is_right)} verdicts, k={k}, wrong_share={wrong_share};"
            " there must be one verdict a score, k at least 1 and a share in [0, 1]"
        )
    # The sort is stable: of equal scores the first comes first.
    order = sorted(range(len(scores)), key=lambda index: -scores[index])
    wrong = [index for index in order if not is_right[index]][: round(wrong_share * k)]
    rest = [index for index in order if index not in set(wrong)]
    return [*wrong, *rest[: k - len(wrong)]]


def active_learning(
    model: str | Path,
    tokenizer: PreTrainedTokenizerBase,
    pool: Sequence[LabelledSolution],
    output: str | Path,
    config: ActiveLearningConfig | None = None,
    training: PRMConfig | None = None,
    *,
    label: Label | None = None,
    labelled: Sequence[LabelledSolution] = (),
    held_out: Sequence[LabelledSolution] = (),
    restart: bool = False,
) -> list[dict[str, Any]]:
    """Train process reward models in rounds, each on labels of what convinced the last one.

    The first round labels one random solution of each problem, or those that a selector finds most
    convincing. A selector may have learned final answers, for example, which need no step labels.
    Each round trains from ``model`` on all labels so far, into ``output/round-K``. Equal solutions
    of a problem are labelled once. A run that was killed resumes after its last whole round; it may
    be continued with more rounds, but with no other settings and no other pool.

    Where chosen solutions have no labels, in the pool or in ``labelled``, the round waits for them:
    they are written to ``output/to_label-K.jsonl``, rows of the stepwise format whose ``labels``
    people fill in, and the rounds so far are returned. The next call, with those labels, goes on
    with the same choice.

    Args:
        model: the model that every round starts from, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        pool: solutions of many problems, several each, that ``is_right`` can grade.
        output: folder of the models and of ``rounds.jsonl``, one row per round.
        config: settings of the rounds; the defaults of ``ActiveLearningConfig`` if left out.
        training: settings of the training in each round; the defaults of ``PRMConfig`` if left out.
            Its seed seeds the random choices, too.
        label: labels the selected solutions, as a larger model does; ``None``: they have labels in
            the pool or in ``labelled``.
        labelled: solutions of the pool with labels that it does not have, such as those of people.
        held_out: labelled solutions whose loss is measured after every epoch.
        restart: delete the rounds of an earlier run of the same folder.

    Returns:
        A row for each round: ``round``, ``solutions`` and ``labels`` (numbers of labelled solutions
        and steps so far), the other results of ``train_prm``, and ``chosen``, the indices of the
        solutions that the round labelled.

    Raises:
        ValueError: a solution that cannot be graded; the run was started with other settings; or
            another process is at it.

    Source: Lightman et al. 2023, 2305.20050, section 4.2, which retrains its selector once.
    """
    config, training = config or ActiveLearningConfig(), training or PRMConfig()
    output = Path(output)
    right = _grade(pool)
    output.mkdir(parents=True, exist_ok=True)
    run = ResumableRun(
        output / "rounds.jsonl",
        _settings(model, pool, config, training),
        _keys,
        config.rounds + 1,
        RunOptions(restart=restart),
        in_place=True,
    )
    with run:
        rows = [dict(row) for row in run.rows()]
        chosen = {index for row in rows for index in row["chosen"]}
        for number in range(len(rows), config.rounds + 1):
            pending = output / f"chosen-{number}.json"
            new = _read_pending(pending, len(pool))
            if new is None or restart:
                score = _scorer_of_round(number, output, config, training)
                new = _choose(pool, right, chosen, score, number, config, training.seed)
            chosen.update(new)
            folder = output / f"round-{number}"
            if restart:
                rmtree(folder, ignore_errors=True)  # else its training would resume
            asked: Sequence[LabelledSolution] = [pool[index] for index in sorted(chosen)]
            known, missing = with_labels(asked, labelled) if label is None else (label(asked), [])
            if missing and not (config.skip_unlabelled and known):
                write_json(pending, sorted(new))
                path = write_to_label(output, number, missing)
                _log.warning("round %d waits for the labels of %s", number, path)
                break
            result = train_prm(
                model,
                tokenizer,
                known,
                folder,
                replace(training, seed=training.seed + number, restart=False),
                held_out=held_out,
            )
            counts = {"round": number, "solutions": len(known)}
            rows.append({**counts, **result, "chosen": sorted(new)})
            run.append(rows[-1])
            pending.unlink(missing_ok=True)
    return rows


def _scorer_of_round(
    number: int, output: Path, config: ActiveLearningConfig, training: PRMConfig
) -> Callable[[Sequence[LabelledSolution]], list[float]] | None:
    """The scores that a round chooses by; ``None`` for a random choice."""
    selector = output / f"round-{number - 1}" if number else config.selector
    if selector is None or config.uniform:
        return None
    return partial(_score, selector, config, training)


def _read_pending(path: Path, count: int) -> list[int] | None:
    """The choice of a round that waited for labels; ``None`` if there is none."""
    if not path.is_file():
        return None
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, list) or not all(isinstance(x, int) and 0 <= x < count for x in found):
        raise ValueError(f"{path} holds no choice of this pool; restart (--restart)")
    return found


def _grade(pool: Sequence[LabelledSolution]) -> list[bool]:
    """True for each solution whose answer is right."""
    right: list[bool] = []
    for solution in pool:
        verdict = is_right(solution)
        if verdict is None:
            raise ValueError(
                f"got a solution of {solution.prompt!r} ({solution.source}) that cannot be graded: "
                "it has no reference answer; leave it out, or set correct"
            )
        right.append(verdict)
    if not any(right):
        warn_of_none_right(pool)
    return right


def _settings(
    model: str | Path,
    pool: Sequence[LabelledSolution],
    config: ActiveLearningConfig,
    training: PRMConfig,
) -> dict[str, Any]:
    settings = {**asdict(config), **asdict(training), "model": str(model)}
    for name in ("rounds", "restart", "skip_unlabelled"):  # more rounds continue a run
        del settings[name]
    return run_settings(settings, models=["model", "selector"], items=list(pool))


def _keys(row: Mapping[str, Any]) -> list[int]:
    _ = row["chosen"]
    return [int(row["round"])]


def _choose(
    pool: Sequence[LabelledSolution],
    right: Sequence[bool],
    chosen: set[int],
    score: Callable[[Sequence[LabelledSolution]], list[float]] | None,
    number: int,
    config: ActiveLearningConfig,
    seed: int,
) -> list[int]:
    """Indices of the solutions that a round labels: by their scores, or at random without any."""
    order = list(range(len(pool)))
    if score is None:
        random.Random(f"{seed}/{number}").shuffle(order)
        problems = _unlabelled_by_problem(pool, order, chosen)
        count = config.per_problem if number else 1
        return [index for indices in problems.values() for index in indices[:count]]
    problems = _unlabelled_by_problem(pool, order, chosen)
    scores = iter(score([pool[x] for indices in problems.values() for x in indices]))
    new: list[int] = []
    wrong_ones = config.wrong_share * config.per_problem
    for k, indices in enumerate(problems.values()):
        # The rounded numbers of wrong ones add up to the share over all problems: rounded for each
        # problem alone, a share of 80 % of one or two solutions would be all of them.
        wrong = round(wrong_ones * (k + 1)) - round(wrong_ones * k)
        best = select_convincing(
            [next(scores) for _ in indices],
            [right[index] for index in indices],
            config.per_problem,
            wrong_share=wrong / config.per_problem,
        )
        new += [indices[j] for j in best]
    return new


def _unlabelled_by_problem(
    pool: Sequence[LabelledSolution], order: Iterable[int], chosen: set[int]
) -> dict[str, list[int]]:
    """Prompt -> indices of its solutions without labels, in order; of equal ones only the first."""
    seen = {(pool[index].prompt, pool[index].steps) for index in chosen}
    # Problems in the order of the pool, which does not depend on the random order.
    problems: dict[str, list[int]] = {solution.prompt: [] for solution in pool}
    for index in order:
        solution = pool[index].prompt, pool[index].steps
        if solution not in seen:
            seen.add(solution)
            problems[pool[index].prompt].append(index)
    return {prompt: indices for prompt, indices in problems.items() if indices}


def _score(
    selector: str | Path,
    config: ActiveLearningConfig,
    training: PRMConfig,
    solutions: Sequence[LabelledSolution],
) -> list[float]:
    """Scores of solutions by a reward model."""
    prm = ProcessRewardModel.from_pretrained(
        selector, format=training.head, separator=training.separator
    )
    model: Any = prm.model  # transformers' type of .to() takes no device
    model.to(default_device())
    steps = prm.score([x.prompt for x in solutions], [list(x.steps) for x in solutions])
    return reduce_scores(steps, config.reduce).tolist()
