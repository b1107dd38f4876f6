"""A pool of graded samples of a chat model, with the statistics of their tokens.

    python -m benchmarks.papers.chat_pool --model FOLDER --input gsm8k/test.jsonl --problems 200 \
        --output runs/pool.jsonl [--engine URL --tokenizer FOLDER]

A row holds a problem of the task, its greedy text, and n samples: text, token ids, whether it
finished, whether it is right, and for each token its log-probability and confidence (``minus the
mean log-probability of the likeliest tokens``, 20 of them where the sampler gives as many). The
problems are drawn at random by the seed, so that a larger pool begins with the smaller one. The
same command resumes a run that was stopped; a batch of problems has random numbers of its own. At a
server that gives log-probabilities (vLLM) the same rows are sampled by ``--engine``. ``--begin``
takes over the rows of a published pool, such as ../shared/data/gsm8k_qwen/test_pool.jsonl.gz:
objects with ``row`` (line of the input, from 0), ``question``, ``greedy``, ``samples`` with
``text``, ``token_ids``, ``logprobs``, ``top`` (log-probabilities of the likeliest) and
``finished``.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import torch
from torch import LongTensor

from reason_decode.core.model_options import ModelOptions, PromptOptions
from reason_decode.core.solutions import Candidate, Cost, Trace
from reason_decode.generation.interface import Generation
from reason_decode.generation.sampling import Branch
from reason_decode.io.jsonl import read_jsonl
from reason_decode.models.chat_template import has_chat_template
from reason_decode.models.loading import load_padded_tokenizer
from reason_decode.runs.resumable import ResumableRun
from reason_decode.serving import ServedModel
from reason_decode.serving.from_options import local_model
from reason_decode.strategies.base import Strategy, chosen_sequences, sample_at_once
from reason_decode.tasks import Item, Task, TaskOptions, chat_prompt, find_task


@dataclass(frozen=True, eq=False)
class Collect(Strategy):
    """Samples n solutions of each prompt and keeps their tokens' statistics.

    Args:
        n: solutions per prompt.
        found: receives the branches of each prompt.
    """

    n: int = 8
    found: list[list[Branch]] = field(default_factory=list)

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Sample n solutions of each prompt; the first is returned."""
        generation.keep_stats = True
        branches = sample_at_once(generation, self.n)
        self.found.extend(branches)
        reader = self.reader(generation, prompts)
        tokens, candidates = reader.candidates(branches, _candidate)
        traces = [
            Trace(p, "Collect", tuple(x), (0,)) for p, x in zip(prompts, candidates, strict=True)
        ]
        return chosen_sequences(generation, tokens, traces), traces, generation.cost


def main(argv: Sequence[str] | None = None) -> int:
    """Sample what is missing and print the counts."""
    args = _parser().parse_args(argv)
    task = find_task(TaskOptions(task=args.task))
    problems = task.load(args.input, None)[0]
    given = [] if args.begin is None else published_rows(problems, task, args.begin, args.n)
    items = drawn(problems, args.problems, args.seed, first=[row["id"] for row in given])
    names = ("task", "n", "temperature", "top_p", "max_new_tokens", "seed", "system", "no_greedy")
    settings = {name: getattr(args, name) for name in names} | {"model": args.model}
    run = ResumableRun(args.output, settings, _keys, len(items), in_place=True)
    start, tokens = time.monotonic(), 0
    with run:
        for row in given:
            if row["id"] not in run.done:
                run.append(row)
        todo = [item for item in items if item.id not in run.done]
        model, tokenizer = _load(args) if todo else (None, None)
        for k in range(0, len(todo), args.batch_size):
            for row in rows_of(model, tokenizer, task, todo[k : k + args.batch_size], args):
                run.append(row)
                tokens += sum(len(x["token_ids"]) for x in row["samples"])
            rate = tokens / (time.monotonic() - start)
            print(f"{k + args.batch_size} of {len(todo)}, {rate:.0f} tokens/s", file=sys.stderr)
        rows = [row for row in run.rows() if row["id"] in {item.id for item in items}]
    samples = [x for row in rows for x in row["samples"]]
    print(
        f"{len(rows)} problems, {len(samples)} samples, "
        f"{sum(len(x['token_ids']) for x in samples)} tokens, "
        f"{sum(x['finished'] for x in samples) / len(samples):.1%} finished, "
        f"{sum(x['correct'] for x in samples) / len(samples):.1%} right"
    )
    if not args.no_greedy:
        print(f"greedy {sum(row['greedy_correct'] for row in rows) / len(rows):.1%} right")
    return 0


def drawn(items: Sequence[Item], count: int, seed: int, first: Sequence[Any] = ()) -> list[Item]:
    """The first so many items in a random order, in which those with some ids come first."""
    order = list(items)
    Random(seed).shuffle(order)
    leading = set(first)
    order.sort(key=lambda item: item.id not in leading)
    return order[:count]


def published_rows(items: Sequence[Item], task: Task, path: str, n: int) -> list[dict[str, Any]]:
    """The rows of a published pool, graded."""
    found = []
    for line, given in read_jsonl(path)[0]:
        item = items[given["row"]]
        if item.question.strip() != given["question"].strip() or len(given["samples"]) < n:
            raise ValueError(
                f"{path}, line {line}: row {given['row']} of the input has another question, or "
                f"there are fewer than {n} samples; pass the --input that the pool was sampled from"
            )
        samples = [
            {
                "text": x["text"],
                "finished": x["finished"],
                "token_ids": x["token_ids"],
                "logprobs": x["logprobs"],
                "confidences": [round(-sum(top) / len(top), 3) for top in x["top"]],
                "correct": task.grade(item, x["text"]),
            }
            for x in given["samples"][:n]
        ]
        found.append(_row(item, given["greedy"], task, samples))
    return found


def rows_of(
    model: Any, tokenizer: Any, task: Task, items: Sequence[Item], args: argparse.Namespace
) -> list[dict[str, Any]]:
    """The rows of some problems, which are sampled side by side."""
    chat = has_chat_template(tokenizer)
    prompts: list[Any] = [
        chat_turns(task, x.question, args.system) if chat else x.prompt for x in items
    ]
    options: dict[str, Any] = {"max_new_tokens": args.max_new_tokens or task.max_new_tokens}
    greedy, samples = Collect(tokenizer=tokenizer, n=1), Collect(tokenizer=tokenizer, n=args.n)
    drawing: dict[str, Any] = {"temperature": args.temperature, "top_p": args.top_p}
    torch.manual_seed(Random(f"{args.seed} {items[0].id}").getrandbits(63))
    likeliest: dict[str, Any] = {"do_sample": False}
    for strategy, how in ((greedy, likeliest), (samples, drawing))[args.no_greedy :]:
        ask = strategy.chat if chat else strategy.complete
        ask(model, prompts, **options, **how)

    def text(branch: Branch) -> str:
        return str(tokenizer.decode(branch.tokens, skip_special_tokens=True))

    firsts = [None] * len(items) if args.no_greedy else [text(one) for (one,) in greedy.found]
    return [
        _row(
            item,
            first,
            task,
            [{**_sample(x, text(x)), "correct": task.grade(item, text(x))} for x in group],
        )
        for item, first, group in zip(items, firsts, samples.found, strict=True)
    ]


def chat_turns(task: Task, question: str, system: str | None) -> Any:
    """The problem with the task's instruction, or alone behind a system turn that has one."""
    if system is None:
        return chat_prompt(task, Item(0, question, ""))
    return [{"role": "system", "content": system}, {"role": "user", "content": question}]


def _row(
    item: Item, greedy: str | None, task: Task, samples: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    row = {"id": item.id, "question": item.question, "answer": item.target}
    if greedy is not None:
        row |= {"greedy": greedy, "greedy_correct": task.grade(item, greedy)}
    return {**row, "samples": [*samples]}


def _sample(branch: Branch, text: str) -> dict[str, Any]:
    assert branch.stats is not None
    return {
        "text": text,
        "finished": branch.finished,
        "token_ids": branch.tokens.tolist(),
        "logprobs": [round(x, 4) for x in branch.stats.logps.tolist()],
        "confidences": [round(x, 3) for x in branch.stats.confidences.tolist()],
    }


def _load(args: argparse.Namespace) -> tuple[Any, Any]:
    if args.engine is not None:
        tokenizer = load_padded_tokenizer(args.tokenizer or args.model)
        urls = args.engine.split(",")
        # A request is answered when the last of its samples is done, which may take an hour.
        model = ServedModel(
            urls,
            args.model,
            tokenizer,
            seeds=not args.no_seeds,
            concurrency=args.batch_size,
            timeout=3600.0,
            total_timeout=7200.0,
        )
        return model, tokenizer
    return local_model(args.model, ModelOptions(dtype="float32"), PromptOptions())


def _candidate(text: str, **known: Any) -> Candidate:
    return Candidate(text, (text,), **known)


def _keys(row: Mapping[str, Any]) -> list[Any]:
    return [row["id"]]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", default="tiny", help="folder, or name at the server")
    parser.add_argument("--engine", help="address of a server, or several with commas")
    parser.add_argument("--tokenizer", help="folder of the tokenizer of a model at a server")
    parser.add_argument("--no-seeds", action="store_true", help="send no seeds to the server")
    parser.add_argument("--task", default="gsm8k", help="task (default: gsm8k)")
    parser.add_argument("--input", required=True, help="file of problems")
    parser.add_argument("--output", required=True, help="file of the pool")
    parser.add_argument("--problems", type=int, default=200, help="problems (default: 200)")
    parser.add_argument("--n", type=int, default=8, help="samples of a problem (default: 8)")
    parser.add_argument("--batch-size", type=int, default=8, help="problems side by side")
    parser.add_argument("--temperature", type=float, default=0.7, help="default: 0.7")
    parser.add_argument("--top-p", type=float, default=0.95, help="default: 0.95")
    parser.add_argument("--max-new-tokens", type=int, help="default: that of the task")
    parser.add_argument("--system", help="system turn, in place of the task's instruction")
    parser.add_argument("--no-greedy", action="store_true", help="leave the greedy text out")
    parser.add_argument("--begin", help="published pool whose rows come first")
    parser.add_argument("--seed", type=int, default=0, help="default: 0")
    return parser


if __name__ == "__main__":
    sys.exit(main())
