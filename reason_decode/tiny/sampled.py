"""Solutions that the tiny base samples itself, graded by the exact checkers.

They show the process reward model the mistakes that this generator really makes.
"""

import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from tqdm import tqdm
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.steps import StepSplitter
from reason_decode.tiny import arithmetic, countdown
from reason_decode.tiny.countdown_work import Work

_PER_PROBLEM = 4
_BATCH = 512


def grade(prompt: str, steps: Sequence[str]) -> list[bool]:
    """Whether each step is right, up to the first that is not, for either kind of problem.

    Raises:
        ValueError: the prompt is neither a countdown nor an arithmetic problem.
    """
    problem = countdown.parse_prompt(prompt)
    if problem is not None:
        return countdown.check(*problem, steps)
    return arithmetic.check(prompt.strip().removesuffix("=").strip(), steps)


def draw(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, *, count: int, deep: bool, seed: int
) -> Iterator[Work]:
    """Sample ``count`` solutions at temperature 1, several a problem, three countdown to one other.

    Args:
        model: the base.
        tokenizer: its tokenizer.
        count: solutions in all.
        deep: whether one batch in eight is of deeper arithmetic.
        seed: of the problems and of the samples.
    """
    rng = random.Random(f"sampled/{seed}")
    torch.manual_seed(seed)
    for k in range(count // _BATCH):
        prompts = [_prompt(rng, k, deep) for _ in range(_BATCH // _PER_PROBLEM)]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True)
        sequences = model.generate(
            **inputs,
            do_sample=True,
            top_k=0,
            max_new_tokens=96 if k % 4 else 320,
            num_return_sequences=_PER_PROBLEM,
        )
        assert isinstance(sequences, torch.Tensor)
        texts = tokenizer.batch_decode(
            sequences[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        for i, text in enumerate(texts):
            prompt, steps = prompts[i // _PER_PROBLEM], StepSplitter().split(text)
            right = grade(prompt, steps)
            if right:
                yield Work(prompt, tuple(steps[: len(right)]), tuple(right))


def _prompt(rng: random.Random, k: int, deep: bool) -> str:
    if k % 4:
        return countdown.prompt(*countdown.solvable(rng))
    return arithmetic.prompt(arithmetic.problem(rng, deep=deep and k % 8 == 0))


def write(path: Path, works: Iterator[Work], count: int) -> None:
    """Write graded solutions as JSON lines; the file appears only once it is whole."""
    unfinished = path.with_suffix(".tmp")
    with unfinished.open("w") as file:
        for work in tqdm(works, total=count, unit="solution", mininterval=5):
            file.write(json.dumps(work._asdict()) + "\n")
    unfinished.replace(path)


def read(path: Path) -> list[Work]:
    """The solutions that ``write`` wrote."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return [Work(row["prompt"], tuple(row["steps"]), tuple(row["right"])) for row in rows]
