"""Self-augmentation: what a model samples itself and gets right is learnt from, too."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.core.steps import StepSplitter
from reason_decode.io.oom import BatchFailure, run_in_halves
from reason_decode.models.tokenization import CachedTokenizer, decode
from reason_decode.training.grading import grade_samples, prompt_ids
from reason_decode.training.labelled import LabelledSolution

__all__ = ["augment", "sample_solutions"]

Judge = Callable[[LabelledSolution, str], bool]
"""Of a problem and the text of a solution, whether its answer is right."""


def augment(
    model: Any,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    problems: Sequence[LabelledSolution],
    **how: Any,
) -> list[LabelledSolution]:
    r"""``right`` and, behind it, what the model samples for the problems, is right and is new.

    The adapter that is trained on it afterwards may be another one than the model's: of NAT's own
    samples NCE is trained.

    Args:
        model: samples; the trained student, or a NAT model.
        tokenizer: its own.
        right: what there is.
        problems: see ``sample_solutions``, like ``how``.
        how: its options.

    Source: Li et al. 2024, 2312.12832, section 3.3 (samples of NAT for NCE) and the baseline of
    self-enhancement in section 4; the published code has no sampler.

    Example:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution
        >>> t = tiny.load()
        >>> sums = [LabelledSolution("(1 + 2) =\n", (), (), answer="3")]
        >>> more = augment(t.model, t.tokenizer, [], sums, n=2, max_new_tokens=64)
        >>> {x.prompt for x in more} <= {"(1 + 2) =\n"}
        True
    """
    return grade_samples([*right, *sample_solutions(model, tokenizer, problems, **how)]).right


def sample_solutions(
    model: Any,
    tokenizer: Tokenizer,
    problems: Sequence[LabelledSolution],
    *,
    n: int = 4,
    max_new_tokens: int = 256,
    temperature: float = 1.0,
    separator: str = "\n",
    chat: bool = False,
    judge: Judge | None = None,
    rows: int = 128,
    seed: int = 0,
) -> Iterator[LabelledSolution]:
    """Solutions from a model, several a problem; those that were cut off are left out.

    Args:
        model: a language model, with adapters or without.
        tokenizer: its own.
        problems: their prompts are read, and their answers are handed on; their steps are not read.
        n: samples a problem.
        max_new_tokens: of a sample.
        temperature: of sampling from the whole vocabulary.
        separator: what ends a step.
        chat: whether prompts are put in the tokenizer's chat template.
        judge: says what ``correct`` is; ``None``: it is left open, for ``grade_samples``.
        rows: at most so many are sampled side by side, where one problem has no more; where memory
            runs out, half of them, and so on. A problem that it is too little for is left out, with
            a warning.
        seed: of the sampling; each batch has its own.

    Raises:
        ValueError: a number out of range, or a tokenizer without end of sequence and padding.
    """
    pad, end = tokenizer.pad_token_id, tokenizer.eos_token_id
    if n < 1 or max_new_tokens < 1 or rows < 1 or temperature <= 0:
        raise ValueError(
            f"got n={n}, max_new_tokens={max_new_tokens}, rows={rows}, temperature={temperature}; "
            "counts are at least 1, the temperature is positive"
        )
    if not isinstance(end, int) or not isinstance(pad, int):
        raise ValueError("got a tokenizer without eos_token or pad_token; set both")
    words, splitter, size = (
        CachedTokenizer(tokenizer, model),
        StepSplitter(separator),
        max(1, rows // n),
    )
    starts = range(0, len(problems), size)
    how = {"max_new_tokens": max_new_tokens, "temperature": temperature, "num_return_sequences": n}

    def draw(batch: Sequence[LabelledSolution]) -> list[tuple[LabelledSolution, Tensor]]:
        begun = [prompt_ids(words, x.prompt, separator=separator, chat=chat) for x in batch]
        asked = [x for x in batch for _ in range(n)]
        return list(zip(asked, _continued(model, begun, pad, how), strict=True))

    for number, start in enumerate(tqdm(starts, desc="sampling", unit="batch", disable=None)):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(seed + number)
            parts = list(run_in_halves(draw, problems[start : start + size]))
        for part, drawn in parts:
            if isinstance(drawn, BatchFailure):
                warnings.warn(f"{part[0].prompt!r:.60} is left out: {drawn.reason}", stacklevel=2)
                continue
            for problem, row in drawn:
                text = decode(tokenizer, row)
                steps = tuple(splitter.split(text))
                if steps and end in row:
                    correct = None if judge is None else judge(problem, text)
                    nothing = (None,) * len(steps)
                    source = problem.source
                    yield LabelledSolution(
                        problem.prompt, steps, nothing, problem.answer, correct, source
                    )


def _continued(
    model: Any, begun: Sequence[Sequence[int]], pad: int, how: Mapping[str, Any]
) -> Tensor:
    """What the model says after each beginning: int64 (rows, t) ids."""
    width = max(map(len, begun))
    ids = torch.tensor([[pad] * (width - len(row)) + [*row] for row in begun])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in begun])
    sequences = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        do_sample=True,
        top_k=0,
        top_p=1.0,
        pad_token_id=pad,
        **how,
    )
    return sequences[:, width:]
