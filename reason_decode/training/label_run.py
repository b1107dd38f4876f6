"""Label a file's solutions in a run that resumes, in shards and in several processes."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from reason_decode.core.thinking import THINK
from reason_decode.models.loading import load_model
from reason_decode.runs.batches import Batches
from reason_decode.runs.options import SINGLE_SHARD, RunOptions
from reason_decode.runs.resumable import ResumableRun
from reason_decode.runs.settings import run_settings
from reason_decode.runs.workers import run_workers
from reason_decode.scorers.loading import load_scorer
from reason_decode.tasks import Item, Task
from reason_decode.training.grading import is_right, warn_of_none_right
from reason_decode.training.label_config import LabelConfig
from reason_decode.training.labelled import AnswerCheck, LabelledSolution
from reason_decode.training.labels import label_by_scorer
from reason_decode.training.rollouts import label_by_rollouts

__all__ = ["LabelRun", "label_file"]

Label = Callable[[Sequence[int]], list[dict[str, Any]]]
"""Indices of solutions -> their rows."""
Load = Callable[[str], tuple[Any, Any]]
"""Name of a model -> the model and its tokenizer."""


@dataclass(frozen=True)
class LabelRun:
    """Outcome of a labelling run.

    Args:
        labelled: number of solutions with labels.
        before: how many of them an earlier run, or another shard, had labelled.
        without_steps: number of solutions that have no steps and are left out.
        batches: the batches that ran, with the solutions that failed; ``None`` if none did.
        progress: how far all shards are, for a run of one of several shards, or of Slurm jobs that
            have been submitted; else ``None``.
    """

    labelled: int
    before: int
    without_steps: int
    batches: Batches[list[dict[str, Any]]] | None = None
    progress: str | None = None


def label_file(
    solutions: Sequence[LabelledSolution],
    output: str | Path,
    config: LabelConfig,
    options: RunOptions | None = None,
    *,
    command: Sequence[str] = (),
    task: Task | None = None,
    load: Load = load_model,
) -> LabelRun:
    r"""Label the steps of solutions and write them, as rows of the stepwise format, to a file.

    A row has ``id`` (the index of the solution), ``prompt``, ``completions`` (its steps),
    ``labels`` (true, false or null each), ``answer``, ``correct`` and ``source`` if known, and
    ``shares``, the share of right rollouts of each step, if it was labelled by rollouts. Rows are
    written as they are made; a run that was killed resumes, see ``ResumableRun``.

    Args:
        solutions: the solutions, whose labels are replaced.
        output: JSON Lines; a file that holds anything else than rows of the same run is refused.
        config: the scorer or generator that labels.
        options: the shard that this process runs; workers need ``command``.
        command: arguments of ``python`` that make the same call in another process, see
            ``shard_command``.
        task: grades the rollouts, each with the problem of its solution's prompt and answer;
            ``None``: by the solution's answer.
        load: name of the generator -> the model and its tokenizer, such as one at a server.

    Raises:
        ValueError: the output is not one of this run, the run was started with other settings,
            another process is at it, or a solution has no answer and rollouts need one.
        OSError: the output cannot be written; the rows before are kept.

    Examples:
        >>> import tempfile
        >>> from reason_decode.training import LabelConfig, LabelledSolution, label_file
        >>> lines = ("3 * 4 = 12 (left: 2 12)", "12 * 2 = 25 (left: 25)")
        >>> solution = LabelledSolution("Make 24 from 2 3 4.\n", lines, (None, None))
        >>> config = LabelConfig(scorer="tiny")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     label_file([solution], f"{folder}/labels.jsonl", config).labelled
        1
    """
    options = options or RunOptions()
    if options.workers > 1 and not command:
        raise ValueError(
            f"got workers={options.workers} without the command that they run; call with "
            "shard=Shard(k, n) in n processes instead, and once without a shard to join them"
        )
    indices = [k for k, solution in enumerate(solutions) if solution.steps]
    grader = None if task is None else _grader(task, solutions)
    if config.model is not None and grader is None:
        _check_answers(solutions)
    options_said = asdict(config) | ({} if task is None else {"task": task.name})
    settings = run_settings(options_said, models=["scorer", "model"], items=list(solutions))
    run = ResumableRun(output, settings, _keys, len(indices), options, in_place=True)
    without_steps = len(solutions) - len(indices)
    if not run_workers(run, command):
        submitted = "the jobs are submitted; the same command without them joins their results"
        return LabelRun(0, 0, without_steps, progress=submitted)
    with run:
        before, batches = len(run.done), None
        if run.remains:
            label = _make_labeller(config, solutions, grader, load)
            batches = Batches(
                indices,
                config.batch_size,
                label,
                done=run.done,
                shard=options.shard,
                desc="label",
                unit="solution",
            )
            for _, rows in batches:
                run.append(*(row for row in rows if row["id"] not in run.done))
        progress = None
        if options.shard == SINGLE_SHARD:
            run.gather(indices)
        else:
            progress = run.progress_line()
    return LabelRun(len(run.done), before, without_steps, batches, progress)


def _keys(row: Mapping[str, Any]) -> list[int]:
    _ = row["labels"]
    return [int(row["id"])]


def _check_answers(solutions: Sequence[LabelledSolution]) -> None:
    for solution in solutions:
        if solution.steps and solution.answer is None:
            raise ValueError(
                f"got {solution.prompt!r} ({solution.source}) without an answer, by which rollouts "
                "are right or wrong; leave it out, or label by a scorer"
            )
    if not any(is_right(solution) for solution in solutions if solution.steps):
        warn_of_none_right(solutions)


def _grader(task: Task, solutions: Sequence[LabelledSolution]) -> AnswerCheck:
    """The task's grader of solutions.

    Raises:
        ValueError: a solution states no problem of the task; said before any work is spent.
    """

    def item_of(solution: LabelledSolution) -> Item:
        row = {"prompt": solution.prompt, "answer": solution.answer}
        try:
            return task.row_to_item({k: x for k, x in row.items() if x is not None})
        except ValueError as error:
            raise ValueError(
                f"got {solution.prompt!r:.80} ({solution.source}), which is no problem of "
                f"{task.name}: {error}"
            ) from error

    for solution in solutions:
        if solution.steps:
            item_of(solution)
    return lambda solution, text: task.grade(item_of(solution), text)


def _make_labeller(
    config: LabelConfig,
    solutions: Sequence[LabelledSolution],
    grader: AnswerCheck | None,
    load: Load,
) -> Label:
    """Load the model that labels."""
    if config.scorer is not None:
        scorer = load_scorer(config.scorer)

        def by_scorer(batch: Sequence[int]) -> list[dict[str, Any]]:
            chosen = [solutions[k] for k in batch]
            labelled = label_by_scorer(
                chosen,
                scorer,
                threshold=config.resolved_threshold,
                score_part=config.thoughts.score_part,
                thinking_tags=config.thoughts.tags or THINK,
            )
            return list(_rows(batch, labelled))

        return by_scorer
    assert config.model is not None
    model, tokenizer = load(config.model)

    def by_rollouts(batch: Sequence[int]) -> list[dict[str, Any]]:
        found = list(
            label_by_rollouts(
                model,
                tokenizer,
                [solutions[k] for k in batch],
                rollouts=config.rollouts,
                threshold=config.resolved_threshold,
                max_new_tokens=config.max_new_tokens,
                temperature=config.temperature,
                separator=config.separator,
                chat=None if config.prompting.chat else False,
                system=config.prompting.system,
                chat_template_kwargs=config.prompting.chat_template_kwargs,
                thinking_tags=config.thoughts.tags,
                is_right=grader,
                # A batch's own seed: a run that resumes samples what an unbroken one would have.
                seed=config.seed + batch[0],
            )
        )
        rows = _rows(batch, [labelled.solution for labelled in found])
        return [
            {**row, "shares": labelled.shares} for row, labelled in zip(rows, found, strict=True)
        ]

    return by_rollouts


def _rows(
    indices: Sequence[int], solutions: Iterable[LabelledSolution]
) -> Iterator[dict[str, Any]]:
    """Rows of the stepwise format."""
    for index, x in zip(indices, solutions, strict=True):
        labels = [None if label is None else label == 1 for label in x.labels]
        row = {"id": index, "prompt": x.prompt, "completions": x.steps, "labels": labels}
        known = {"answer": x.answer, "correct": x.correct, "source": x.source}
        yield row | {name: value for name, value in known.items() if value is not None}
