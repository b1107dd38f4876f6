"""Step search over a server beside the same search in this process, and beside its_hub's.

    python -m benchmarks.speed.served_search --model FOLDER --engine http://localhost:8000/v1 \
        --name NAME --input gsm8k/test.jsonl --problems 2 [--max-new-tokens 160]

The scorer is the packaged process reward model everywhere, steps end at empty lines, n candidates a
step, one is kept. Tokens are those that vLLM's ``/metrics`` counts, in process those of
``output.cost``: ``sampled``, and ``read``, tokens of prompts that were in no cache. Each way runs
one problem at a time; ours over the server once more with all problems side by side. Checked first:
one greedy candidate has the same text in process and over the server. its_hub (``pip install
--no-deps its_hub``, and aiohttp, backoff, certifi) is left out where it cannot be imported; its
search sends chats, and knows the end of an answer by its text, ``boxed``.
"""

import argparse
import asyncio
import importlib
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any
from urllib import request

import torch

from reason_decode import ProcessRewardModel, StepSearch, tiny
from reason_decode.core.model_options import ModelOptions, PromptOptions
from reason_decode.io.console import table
from reason_decode.io.jsonl import write_json
from reason_decode.models.chat_template import has_chat_template
from reason_decode.models.inputs import encode_prompts
from reason_decode.serving import ServedModel
from reason_decode.serving.from_options import local_model
from reason_decode.tasks import Item, Task, TaskOptions, chat_prompt, find_task

STEP = "\n\n"
LAST = "boxed"
_COUNTERS = ("vllm:generation_tokens_total", "vllm:prompt_tokens_total")


def main(argv: Sequence[str] | None = None) -> int:
    """Run each way and print the table."""
    args = _arguments(argv)
    task = find_task(TaskOptions(task=args.task))
    items = task.load(args.input, None)[0][: args.problems]
    prm = ProcessRewardModel.from_pretrained(tiny.WEIGHTS / "prm", splitter=STEP)
    local, tokenizer = local_model(args.model, ModelOptions(dtype="float32"), PromptOptions())
    served = ServedModel(args.engine, args.name, tokenizer, seeds=not args.no_seeds)
    prompts = [_prompt(task, item, tokenizer) for item in items]
    _check_same(local, served, StepSearch(prm, tokenizer=tokenizer, n=1), prompts[0], args)
    search = StepSearch(prm, tokenizer=tokenizer, n=args.n)
    ways: dict[str, Callable[[], list[str]]] = {
        "ours, in process": lambda: _each(search, local, prompts, args),
        "ours, over the server": lambda: _each(search, served, prompts, args),
        "ours, side by side": lambda: _texts(search, served, prompts, args),
    }
    if find_spec("its_hub") is not None:
        ways["its_hub, over the server"] = lambda: _its_hub(prm, task, items, args)
    rows = []
    for name, way in ways.items():
        before, start = counted(args.engine), time.monotonic()
        in_process.clear()
        texts = way()
        seconds = time.monotonic() - start
        sampled, read = (y - x for x, y in zip(before, counted(args.engine), strict=True))
        if in_process:
            sampled, read = (sum(x) for x in zip(*in_process, strict=True))
        right = sum(task.grade(item, text) for item, text in zip(items, texts, strict=True))
        rows.append(_row(name, seconds, sampled, read, right, len(items)))
        print(rows[-1], file=sys.stderr)
    print(table(rows))
    if args.output:
        write_json(args.output, {**vars(args), "rows": rows})
    return 0


in_process: list[tuple[int, int]] = []
"""Tokens sampled and read by each call in process."""


def _prompt(task: Task, item: Item, tokenizer: Any) -> Any:
    return chat_prompt(task, item) if has_chat_template(tokenizer) else item.prompt


def _texts(search: Any, model: Any, prompts: Sequence[Any], args: argparse.Namespace) -> list[str]:
    torch.manual_seed(args.seed)
    out = model.generate(
        **encode_prompts(search.tokenizer, prompts),
        **({} if isinstance(prompts[0], str) else {"messages": list(prompts)}),
        custom_generate=search,
        max_new_tokens=args.max_new_tokens,
        **{"do_sample": True, "temperature": 0.8, "top_k": 0, "return_dict_in_generate": True},
    )
    if not isinstance(model, ServedModel):
        in_process.append((out.cost.sampled, out.cost.prefill))
    return [trace.best.text for trace in out.traces]


def _each(strategy: Any, model: Any, prompts: Sequence[Any], args: argparse.Namespace) -> list[str]:
    return [_texts(strategy, model, [prompt], args)[0] for prompt in prompts]


def _check_same(local: Any, served: Any, one: Any, prompt: Any, args: argparse.Namespace) -> None:
    """Raise unless a greedy candidate is the same here and there."""
    options = {"max_new_tokens": min(48, args.max_new_tokens), "do_sample": False}
    ask = one.complete if isinstance(prompt, str) else one.chat
    texts = [ask(model, prompt, **options).text for model in (local, served)]
    if texts[0] != texts[1]:
        raise AssertionError(f"in process {texts[0]!r}, over the server {texts[1]!r}")


def _its_hub(prm: Any, task: Task, items: Sequence[Item], args: argparse.Namespace) -> list[str]:
    """The solutions of its_hub's ``BeamSearch`` of width one."""
    api = importlib.import_module("its_hub.api")
    lms = importlib.import_module("its_hub.core.lms.step_generation")
    openai = importlib.import_module("its_hub.core.lms.openai_lm")
    beam = importlib.import_module("its_hub.core.algorithms.beam_search")

    class RewardModel(api.AbstractProcessRewardModel):
        def score(self, prompt: Any, solutions: Any) -> Any:
            steps = [prm.splitter.split(text) for text in solutions]
            scores = prm.score([str(prompt)] * len(steps), steps)
            return [float(x[-1]) if len(x) else 0.0 for x in scores]

        async def ascore(self, prompt: Any, solutions: Any) -> Any:
            return self.score(prompt, solutions)

    steps = lms.StepGeneration(12, STEP, stop_token=LAST, temperature=0.8)
    algorithm = beam.BeamSearch(steps, RewardModel(), 1)

    async def solve() -> list[str]:
        lm = openai.OpenAICompatibleLanguageModel(
            args.engine, "none", args.name, max_tokens=args.max_new_tokens
        )
        found = []
        for item in items:
            question = chat_prompt(task, item)[-1]["content"]
            found.append((await algorithm.ainfer(lm, question, budget=args.n))["content"])
        await lm.close()
        return found

    return asyncio.run(solve())


def counted(url: str) -> tuple[int, int]:
    """Tokens that a vLLM server has sampled, and those of prompts that it has read, so far."""
    address = url.removesuffix("/").removesuffix("/v1") + "/metrics"
    with request.urlopen(address, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    counts = [
        int(sum(float(x.rpartition(" ")[2]) for x in lines if x.startswith(name)))
        for name in _COUNTERS
    ]
    hits = [x for x in lines if x.startswith("vllm:prefix_cache_hits_total")]
    cached = int(sum(float(x.rpartition(" ")[2]) for x in hits))
    return counts[0], counts[1] - cached


def _row(
    name: str, seconds: float, sampled: float, read: float, right: int, problems: int
) -> Mapping[str, str]:
    return {
        "search": name,
        "seconds a problem": f"{seconds / problems:.1f}",
        "sampled": f"{sampled / problems:.0f}",
        "read": f"{read / problems:.0f}",
        "tokens/s": f"{sampled / seconds:.1f}",
        "right": f"{right} of {problems}",
    }


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, help="folder of the model, or tiny")
    parser.add_argument("--engine", required=True, help="address of a vLLM server of it")
    parser.add_argument("--name", required=True, help="its name there")
    parser.add_argument("--no-seeds", action="store_true", help="send no seeds to the server")
    parser.add_argument("--task", default="gsm8k", help="(default: gsm8k)")
    parser.add_argument("--input", required=True, help="file of problems")
    parser.add_argument("--problems", type=int, default=2, help="(default: 2)")
    parser.add_argument("--n", type=int, default=8, help="candidates of a step (default: 8)")
    parser.add_argument("--max-new-tokens", type=int, default=160, help="(default: 160)")
    parser.add_argument("--seed", type=int, default=0, help="(default: 0)")
    parser.add_argument("--output", help="file of the rows, JSON")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
