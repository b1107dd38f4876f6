"""Hidden states and token statistics of a pool of samples, each token read once.

    python -m benchmarks.papers.chat_states --model FOLDER --pool runs/pool.jsonl \
        --output runs/states [--layers 8 12 16 20 24] [--no-statistics]

One safetensors file a problem of ``chat_pool``: for each of its n samples ``last`` (n, l, h), the
states after its last token, ``mean`` (n, l, h), their mean over its tokens, both float16, and for
sample k ``steps.k`` (l, s, h), those after each of its steps, which end at empty lines; a layer's
states have passed the norm after the last layer. ``stats.k`` (4, t) are the statistics of its
tokens under the model's own logits, as ``TokenStats`` orders them. A run that was stopped goes on
where it was.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from benchmarks.papers.chat_pool import chat_turns
from reason_decode.core.model_options import ModelOptions, PromptOptions
from reason_decode.generation.token_stats import token_stats
from reason_decode.io.jsonl import read_jsonl
from reason_decode.models.chat_template import has_chat_template
from reason_decode.models.inputs import encode_prompts
from reason_decode.serving.from_options import local_model
from reason_decode.tasks import TaskOptions, find_task

STEP_END = "\n\n"
_CHUNK = 64  # tokens whose logits are held at a time, for each sample


def main(argv: Sequence[str] | None = None) -> int:
    """Read what is missing."""
    args = _arguments(argv)
    rows = [row for _, row in read_jsonl(args.pool)[0]]
    args.output.mkdir(parents=True, exist_ok=True)
    todo = [row for row in rows if not (args.output / f"{row['id']}.safetensors").exists()]
    if not todo:
        return 0
    model, tokenizer = local_model(args.model, ModelOptions(dtype="float32"), PromptOptions())
    task = find_task(TaskOptions(task=args.task))
    start, tokens = time.monotonic(), 0
    for done, row in enumerate(todo, start=1):
        turns = chat_turns(task, row["question"], args.system)
        asked = [turns] if has_chat_template(tokenizer) else [row["question"]]
        prompt = encode_prompts(tokenizer, asked)["input_ids"]
        samples = [with_end(x, tokenizer.eos_token_id) for x in row["samples"]]
        found = states_of(model, tokenizer, prompt, samples, args.layers, not args.no_statistics)
        unfinished = args.output / f"{row['id']}.tmp"
        save_file(found, unfinished)
        unfinished.replace(args.output / f"{row['id']}.safetensors")
        tokens += prompt.shape[1] + sum(map(len, samples))
        rate = tokens / (time.monotonic() - start)
        print(f"{done} of {len(todo)} problems, {rate:.0f} tokens/s", file=sys.stderr)
    return 0


@torch.no_grad()
def states_of(
    model: Any,
    tokenizer: Any,
    prompt: Tensor,
    samples: Sequence[Sequence[int]],
    layers: Sequence[int],
    statistics: bool,
) -> dict[str, Tensor]:
    """The states and statistics of samples of one prompt (1, p), which is read once."""
    first = model(prompt, use_cache=True, logits_to_keep=1)
    cache = first.past_key_values
    cache.batch_repeat_interleave(len(samples))
    width = max(map(len, samples))
    ids = torch.zeros(len(samples), width, dtype=torch.long)
    mask = torch.zeros(len(samples), prompt.shape[1] + width, dtype=torch.long)
    for row, sample in enumerate(samples):
        ids[row, : len(sample)] = torch.tensor(sample)
        mask[row, : prompt.shape[1] + len(sample)] = 1
    body = model.base_model
    hidden = body(
        ids, attention_mask=mask, past_key_values=cache, output_hidden_states=True
    ).hidden_states
    # The last layer's states are given after the norm, the others' before it.
    normed = [hidden[k] if k == len(hidden) - 1 else body.norm(hidden[k]) for k in layers]
    states = torch.stack(normed)  # (l, n, t, h)
    found: dict[str, Tensor] = {}
    last, mean = [], []
    for row, sample in enumerate(samples):
        own = states[:, row, : len(sample)]
        last.append(own[:, -1])
        mean.append(own.mean(dim=1))
        found[f"steps.{row}"] = own[:, step_ends(tokenizer, sample)].half().contiguous()
        if statistics:
            # The first token's logits are those of the prompt's last one.
            before = torch.cat([first.logits[0, -1:], _logits(model, hidden[-1][row], len(sample))])
            stats = token_stats(before[: len(sample)], torch.tensor(sample))
            found[f"stats.{row}"] = stats.T.contiguous()
    return found | {"last": torch.stack(last).half(), "mean": torch.stack(mean).half()}


def with_end(sample: Mapping[str, Any], eos: Any) -> list[int]:
    """The tokens of a sample, with the end of sequence if it finished; servers leave that out."""
    tokens = [*sample["token_ids"]]
    return [*tokens, eos] if sample["finished"] and tokens[-1:] != [eos] else tokens


def _logits(model: Any, hidden: Tensor, count: int) -> Tensor:
    parts = [model.lm_head(hidden[k : min(count, k + _CHUNK)]) for k in range(0, count, _CHUNK)]
    return torch.cat(parts)


def step_ends(tokenizer: Any, tokens: Sequence[int]) -> list[int]:
    """Indices of the tokens that end a step: that have an empty line, and the last one."""
    texts = tokenizer.batch_decode([[x] for x in tokens])
    ends = [k for k, text in enumerate(texts[:-1]) if STEP_END in text]
    return [*ends, len(tokens) - 1]


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--model", required=True, help="folder of the model of the pool")
    parser.add_argument("--pool", required=True, help="pool that chat_pool wrote")
    parser.add_argument("--output", type=Path, required=True, help="folder of the states")
    parser.add_argument("--task", default="gsm8k", help="task (default: gsm8k)")
    parser.add_argument("--system", help="system turn that the pool was sampled with")
    parser.add_argument(
        "--layers", type=int, nargs="+", default=[8, 12, 16, 20, 24], help="(default: 8 ... 24)"
    )
    parser.add_argument("--no-statistics", action="store_true", help="states alone: no logits")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
