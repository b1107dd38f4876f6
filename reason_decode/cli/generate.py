"""``reason-decode generate``: continue the prompts of a file."""

import json
import sys
from collections.abc import Container, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from reason_decode.cli.abstain import judge_of
from reason_decode.cli.configs import GenerateConfig
from reason_decode.cli.output import STANDARD_OUTPUT
from reason_decode.cli.settings import sampling_of, settings_of
from reason_decode.core.messages import Messages, Prompt, check_messages
from reason_decode.core.model_options import PromptOptions
from reason_decode.core.solutions import check_text
from reason_decode.evaluation.complete import Completions
from reason_decode.io.console import printable
from reason_decode.io.jsonl import check_writable, read_jsonl, write_text
from reason_decode.io.read_report import Reject
from reason_decode.runs.batches import Batches, FailedItem, print_failures
from reason_decode.runs.options import SINGLE_SHARD
from reason_decode.runs.resumable import ResumableRun
from reason_decode.runs.workers import run_workers
from reason_decode.serving.from_options import completer_from_options
from reason_decode.strategies.chat import add_system

__all__ = ["run"]


def run(config: GenerateConfig, argv: Sequence[str]) -> int:
    """Complete the prompts that are not completed yet; each batch is written when it is done."""
    prompts, rejected = _read_prompts(config.input, config.generation.prompting)
    prompts = dict(islice(prompts.items(), config.limit))
    sampling = dict(sampling_of(config.generation, config.engine))
    if config.output == STANDARD_OUTPUT:
        return _print_rows(config, prompts, rejected)
    check_writable(config.output, inputs=[config.input])
    out = Path(config.output)
    if not config.run.restart:
        _check_output(out, prompts)
    settings = settings_of(config, None) | {"sampling": sampling}
    run = ResumableRun(out, settings, _keys, len(prompts), config.run, in_place=True)
    if not run_workers(run, ["-m", "reason_decode", *argv]):
        return 0
    with run:
        before = len(run.done)
        failed: list[FailedItem] = []
        if run.remains:
            batches = _batches(config, prompts, run.done)
            for _, rows in batches:
                run.append(*(row for row in rows if row["id"] not in run.done))
            failed = _print_failures(batches)
        if config.run.shard != SINGLE_SHARD:
            print(run.progress_line())
            return 1 if failed else 0
        run.gather(prompts)
    rejected += [Reject(item.index, item.reason) for item in failed]
    _write_rejected(Path(f"{out}.rejected.jsonl"), rejected)
    print(
        f"{out}: {len(prompts) - len(failed)} completions, {before} of them from before; "
        f"{len(rejected)} lines set aside"
    )
    return 1 if failed else 0


def _print_rows(config: GenerateConfig, prompts: dict[int, Prompt], rejected: list[Reject]) -> int:
    """Write the rows to standard output, everything else to standard error."""
    if config.run.is_divided:
        raise ValueError(
            "got output=- with shards or workers, whose results are files; name a file"
        )
    stdout = sys.stdout
    with redirect_stdout(sys.stderr):
        batches = _batches(config, prompts, ())
        for _, rows in batches:
            for row in rows:
                print(json.dumps(row, ensure_ascii=False), file=stdout)
        failed = _print_failures(batches)
        for reject in rejected:
            print(f"set aside: line {reject.row}: {printable(reject.reason)}")
    return 1 if failed else 0


def _batches(
    config: GenerateConfig, prompts: dict[int, Prompt], done: Container[int]
) -> Batches[list[dict[str, Any]]]:
    """The rows of each batch of prompts."""
    completer = completer_from_options(config.generation, config.engine)
    judge = judge_of(config.abstaining)
    system = config.generation.prompting.system

    def complete(batch: Sequence[int]) -> list[dict[str, Any]]:
        given = [prompts[number] for number in batch]
        # A user's turn of a chat where the model has a template; with the system turn, if any.
        asked = [_chat(prompt, system) for prompt in given] if completer.chat else given
        # Numbered by their lines: a run that was interrupted samples what it would have.
        made = completer(asked, batch)
        rows = enumerate(batch)
        found = [_row(made, k, number, prompts[number], config.trace) for k, number in rows]
        return [row | judge(row) for row in found]

    return Batches(
        list(prompts),
        config.batch_size,
        complete,
        done=done,
        shard=config.run.shard,
        desc="generate",
        unit="prompt",
    )


def _print_failures(batches: Batches[Any]) -> list[FailedItem]:
    print_failures(batches, lambda line: f"line {line}")
    return batches.failed


def _chat(prompt: Prompt, system: str | None) -> Messages:
    """A prompt as a conversation; a text is a user's turn."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else prompt
    return messages if messages[0]["role"] == "system" else add_system(messages, system)


def _row(made: Completions, k: int, number: int, prompt: Prompt, trace: bool) -> dict[str, Any]:
    row: dict[str, Any] = {"id": number, _kind(prompt): prompt}
    row |= {"completion": made.texts[k], "score": None}
    if made.traces is not None:
        row["score"] = made.traces[k].best.total
        if (agreement := made.traces[k].agreement) is not None:
            row["agreement"] = agreement
        if trace:
            row["trace"] = made.traces[k].to_dict()
    return row


def _kind(prompt: Prompt) -> str:
    """The field that holds a prompt."""
    return "prompt" if isinstance(prompt, str) else "messages"


def _read_prompts(path: str, prompting: PromptOptions) -> tuple[dict[int, Prompt], list[Reject]]:
    """Prompts by line number, and the lines without one.

    Raises:
        ValueError: no line has one, or there are conversations where prompts are to be text.
    """
    rows, rejected = read_jsonl(path)
    prompts: dict[int, Prompt] = {}
    for number, row in rows:
        try:
            if "messages" in row:
                prompts[number] = check_messages(row["messages"])
                continue
            prompt = row.get("prompt")
            if not isinstance(prompt, str) or not prompt:
                raise ValueError(f"got the prompt {prompt!r:.80}; need a text")
            check_text(prompt, "the prompt")
            prompts[number] = prompt
        except ValueError as error:
            rejected.append(Reject(number, str(error)))
    if not prompts:
        why = f"; line {rejected[0].row}: {rejected[0].reason}" if rejected else ""
        raise ValueError(
            f'{path} has no {{"prompt": text}} and no {{"messages": [...]}} line '
            f"({len(rejected)} malformed{why})"
        )
    chats = [number for number, prompt in prompts.items() if not isinstance(prompt, str)]
    if chats and not prompting.chat:
        raise ValueError(
            f"line {chats[0]} of {path} has messages, and chat=False asks for text; drop --no-chat"
        )
    return prompts, sorted(rejected, key=lambda reject: reject.row)


def _keys(row: Mapping[str, Any]) -> list[int]:
    return [int(row["id"])]


def _check_output(path: Path, prompts: dict[int, Prompt]) -> None:
    """Raise if the output has rows of other prompts, before anything is changed.

    Raises:
        ValueError: it has.
    """
    if not path.exists():
        return
    for place, row in read_jsonl(path)[0]:
        id = row.get("id")
        prompt = prompts.get(id) if isinstance(id, int) else None
        if prompt is None or prompt != row.get(_kind(prompt)):
            raise ValueError(
                f"line {place} of {path} answers no prompt of the input, so the file was made from "
                "another; take another output, or restart (--restart) to delete its rows"
            )


def _write_rejected(path: Path, rejected: list[Reject]) -> None:
    if rejected:
        write_text(path, "".join(json.dumps(asdict(reject)) + "\n" for reject in rejected))
    else:
        # The lines that an earlier run set aside have been corrected.
        path.unlink(missing_ok=True)
