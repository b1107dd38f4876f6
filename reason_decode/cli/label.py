"""``reason-decode label``: labels without people, by rollouts or by a larger reward model."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from reason_decode.cli.label_configs import LabelCommandConfig
from reason_decode.cli.prompts import suffix_for, with_suffix
from reason_decode.io.jsonl import check_writable
from reason_decode.io.read_report import ReadReport
from reason_decode.models.chat_template import has_chat_template
from reason_decode.models.checkpoint import load_tokenizer
from reason_decode.models.loading import packaged
from reason_decode.runs.batches import print_failures
from reason_decode.serving.from_options import load_engine
from reason_decode.tasks import TaskOptions, find_task
from reason_decode.training import LabelConfig, SolutionColumns, label_file, read_labelled

__all__ = ["run"]


def run(config: LabelCommandConfig, argv: Sequence[str]) -> int:
    """Read, label, write as it goes; print counts of the rows."""
    separator = config.labelling.separator
    check_writable(config.output, inputs=[config.input])
    report = ReadReport()
    rows = read_labelled(
        config.input,
        config.data.format,
        separator=separator,
        columns=SolutionColumns(
            question=config.problems.question_column,
            answer=config.problems.answer_column,
            subset=config.problems.subset,
            split=config.problems.split,
        ),
        report=report,
    )
    # In a chat the prompt is a turn of its own.
    one_text = not _renders_chats(config.labelling, config.engine.tokenizer)
    suffix = suffix_for(one_text, separator, config.data.prompt_suffix)
    solutions = [replace(x, prompt=with_suffix(x.prompt, suffix)) for x in rows]
    result = label_file(
        solutions,
        config.output,
        config.labelling,
        config.run,
        command=["-m", "reason_decode", *argv],
        task=None if config.problems == TaskOptions() else find_task(config.problems),
        load=partial(load_engine, engine=config.engine, prompting=config.labelling.prompting),
    )
    if result.batches is not None:
        print_failures(result.batches, lambda index: f"solution {solutions[index].source}")
    if result.progress is not None:
        print(result.progress)
    else:
        print(f"{config.input}: {report}")
        if result.without_steps:
            print(f"left out: {result.without_steps} solutions without steps")
        print(f"{result.labelled} labelled in {config.output}, {result.before} of them before")
    return 1 if result.batches is not None and result.batches.failed else 0


def _renders_chats(config: LabelConfig, tokenizer: str | None) -> bool:
    """True if rollouts are sampled through the chat template of the model."""
    if config.model is None or not config.prompting.chat:
        return False
    folder = tokenizer or (packaged("base") if config.model == "tiny" else config.model)
    return has_chat_template(load_tokenizer(folder))
