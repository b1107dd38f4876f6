"""Self-augmentation: training also on the right solutions that a model samples itself."""

import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm
from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.core.splitting import splitter_for
from reason_decode.io.oom import BatchFailure, run_in_halves
from reason_decode.models.inputs import CachedTokenizer, decode, pad_rows
from reason_decode.training.adapter_config import SamplingConfig
from reason_decode.training.examples import encode_prompt
from reason_decode.training.grading import grade_samples
from reason_decode.training.labelled import AnswerCheck, LabelledSolution

__all__ = ["augment", "sample_solutions"]


def augment(
    model: Any,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    problems: Sequence[LabelledSolution],
    config: SamplingConfig | None = None,
    *,
    is_right: AnswerCheck | None = None,
) -> list[LabelledSolution]:
    r"""``right``, and the new right solutions that a model samples for the problems.

    The model may have another adapter than the one that is trained on the result: NCE is trained on
    samples of NAT.

    Args:
        model: the model that samples, such as a trained student or a NAT model.
        tokenizer: the tokenizer of ``model``.
        right: samples with right answers.
        problems: prompts with their reference answers; their steps are ignored.
        config: the settings; the defaults of ``SamplingConfig`` if left out.
        is_right: problem and text of a solution -> whether its answer is right; ``None`` compares
            with the reference answer.

    Source: Li et al. 2024, 2312.12832, section 3.3 (samples of NAT for NCE) and the baseline of
    self-enhancement in section 4; the published code has no sampler.

    Examples:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution, SamplingConfig
        >>> t = tiny.load()
        >>> sums = [LabelledSolution("(1 + 2) =\n", (), (), answer="3")]
        >>> config = SamplingConfig(n=2, max_new_tokens=64)
        >>> more = augment(t.model, t.tokenizer, [], sums, config)
        >>> {x.prompt for x in more} <= {"(1 + 2) =\n"}
        True
    """
    sampled = sample_solutions(model, tokenizer, problems, config, is_right=is_right)
    return grade_samples([*right, *sampled]).right


def sample_solutions(
    model: Any,
    tokenizer: Tokenizer,
    problems: Sequence[LabelledSolution],
    config: SamplingConfig | None = None,
    *,
    is_right: AnswerCheck | None = None,
) -> Iterator[LabelledSolution]:
    """Sample solutions of problems; solutions that were cut off are left out.

    Args:
        model: a causal language model, with or without adapters.
        tokenizer: the tokenizer of ``model``.
        problems: prompts with their reference answers; their steps are ignored.
        config: the settings; the defaults of ``SamplingConfig`` if left out. A batch that runs out
            of memory is split in halves; a problem that does not fit alone is left out, with a
            warning.
        is_right: problem and text of a solution -> its ``correct``; ``None`` leaves ``correct``
            open, for ``grade_samples``.

    Raises:
        ValueError: the tokenizer has no end of sequence or no padding token.
    """
    config = config or SamplingConfig()
    pad, eos = tokenizer.pad_token_id, tokenizer.eos_token_id
    if not isinstance(eos, int) or not isinstance(pad, int):
        raise ValueError("got a tokenizer without eos_token or pad_token; set both")
    cached, splitter = CachedTokenizer(tokenizer, model), splitter_for(config.separator)
    size = max(1, config.batch_rows // config.n)

    def sample(batch: Sequence[LabelledSolution]) -> list[tuple[LabelledSolution, Tensor]]:
        prompts = [
            encode_prompt(cached, x.prompt, separator=config.separator, chat=config.chat)
            for x in batch
        ]
        rows = [x for x in batch for _ in range(config.n)]
        return list(zip(rows, _generate(model, prompts, pad, config), strict=True))

    starts = range(0, len(problems), size)
    for number, start in enumerate(tqdm(starts, desc="sampling", unit="batch", disable=None)):
        with torch.random.fork_rng(), torch.no_grad():
            torch.manual_seed(config.seed + number)
            parts = list(run_in_halves(sample, problems[start : start + size]))
        for part, sampled in parts:
            if isinstance(sampled, BatchFailure):
                warnings.warn(f"{part[0].prompt!r:.60} is left out: {sampled.reason}", stacklevel=2)
                continue
            for problem, row in sampled:
                text = decode(tokenizer, row)
                steps = tuple(splitter.split(text))
                if steps and eos in row:
                    yield LabelledSolution(
                        problem.prompt,
                        steps,
                        labels=(None,) * len(steps),
                        answer=problem.answer,
                        correct=None if is_right is None else is_right(problem, text),
                        source=problem.source,
                    )


def _generate(
    model: Any, prompts: Sequence[Sequence[int]], pad: int, config: SamplingConfig
) -> Tensor:
    """Sampled continuations of the prompts, ``n`` of each, (rows, t) int64."""
    ids, mask = pad_rows(prompts, side="left", value=pad)
    sequences = model.generate(
        input_ids=ids.to(model.device),
        attention_mask=mask.to(model.device),
        do_sample=True,
        temperature=config.temperature,
        top_k=0,
        top_p=1.0,
        num_return_sequences=config.n,
        max_new_tokens=config.max_new_tokens,
        pad_token_id=pad,
    )
    return sequences[:, ids.shape[1] :]
