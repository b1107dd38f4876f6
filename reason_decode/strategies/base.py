"""What strategies share: starting a call, sampling whole candidates, handing back the choice."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import LongTensor, Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    StoppingCriteriaList,
)

from reason_decode.host import Branch, Generation
from reason_decode.records import Candidate, Cost, ReasoningOutput, Trace
from reason_decode.scorers.base import Reduce, Scorer, reduce_scores
from reason_decode.steps import StepSplitter, decode


@dataclass(frozen=True, eq=False)
class Strategy:
    """A frozen ``custom_generate`` callable; ``run`` is what each strategy adds.

    It holds its tokenizer, since ``generate`` drops ``tokenizer=`` (and ``streamer=``) before a
    callable is reached. It keeps nothing between calls, so that one object serves many threads.
    """

    def __call__(
        self,
        model: PreTrainedModel,
        input_ids: Tensor,
        logits_processor: LogitsProcessorList,
        stopping_criteria: StoppingCriteriaList,
        generation_config: GenerationConfig,
        **model_kwargs: Any,
    ) -> LongTensor | ReasoningOutput:
        """What ``generate`` calls; see ``Generation`` for the arguments."""
        name = type(self).__name__
        with torch.no_grad():
            generation = Generation(
                name,
                model,
                input_ids,
                logits_processor,
                stopping_criteria,
                generation_config,
                model_kwargs,
            )
            sequences, traces, cost = self.run(generation)
        if not generation_config.return_dict_in_generate:
            return sequences
        return ReasoningOutput(sequences=sequences, traces=tuple(traces), cost=cost)

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Decode: sequences (b * k, t), one trace a prompt, and what it cost."""
        raise NotImplementedError

    def __deepcopy__(self, memo: dict[int, Any]) -> "Strategy":
        # Harnesses deep-copy generation arguments for each batch; no scorer is to be copied along.
        return self


def check_count(generation: Generation, n: int, most: int, what: str) -> None:
    """Raise unless n candidates can differ and ``num_return_sequences`` of them can be returned.

    Raises:
        ValueError: n > 1 without sampling, or more sequences asked for than there will be.
    """
    if n > 1 and not generation.config.do_sample:
        raise ValueError(
            f"{generation.need} compares n={n} candidates, which greedy decoding makes all alike; "
            "pass do_sample=True (and a temperature) to generate, or n=1"
        )
    if generation.copies > most:
        raise ValueError(
            f"got num_return_sequences={generation.copies}; {generation.need} returns at most "
            f"{most} ({what}). Lower it, or raise {what.split(' ')[0]}"
        )


def check_positive(**counts: int) -> None:
    """Raise unless every count is a whole number of at least 1.

    Raises:
        ValueError: one is not.
    """
    for name, count in counts.items():
        if not isinstance(count, int) or count < 1:
            raise ValueError(f"got {name}={count!r}; pass a whole number of at least 1")


def prompt_texts(generation: Generation, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The prompts as text, without special tokens."""
    rows = [generation.prompt_row(k) for k in range(len(generation.prompt_ids))]
    return [decode(tokenizer, row) for row in rows]


@dataclass(frozen=True)
class Pool:
    """Whole candidates of each prompt: the sampled ids, (t,) int64, and how they read."""

    prompts: list[str]
    tokens: list[list[Tensor]]
    candidates: list[list[Candidate]]


def sample_pool(
    generation: Generation, tokenizer: PreTrainedTokenizerBase, splitter: StepSplitter, n: int
) -> Pool:
    """Read each prompt once and sample n whole candidates of it."""
    flat = generation.sample(generation.prefill(), n)
    branches = [flat[start : start + n] for start in range(0, len(flat), n)]
    return as_pool(generation, tokenizer, splitter, branches)


def as_pool(
    generation: Generation,
    tokenizer: PreTrainedTokenizerBase,
    splitter: StepSplitter,
    branches: Sequence[Sequence[Branch]],
) -> Pool:
    """What was sampled of each prompt, with how it reads."""
    candidates = [[_candidate(x, tokenizer, splitter) for x in group] for group in branches]
    tokens = [[branch.tokens for branch in group] for group in branches]
    return Pool(prompt_texts(generation, tokenizer), tokens, candidates)


def _candidate(
    branch: Branch, tokenizer: PreTrainedTokenizerBase, splitter: StepSplitter
) -> Candidate:
    text = decode(tokenizer, branch.tokens)
    steps = tuple(splitter.split(text))
    return Candidate(text, steps, finished=branch.finished, tokens=len(branch.tokens))


def score_pool(pool: Pool, scorer: Scorer, reduce: Reduce) -> tuple[list[list[Candidate]], int]:
    """The candidates with their scores; equal ones of a prompt are read once.

    Returns:
        the candidates, and how many tokens the scorer read.
    """
    session = scorer.open(pool.prompts)
    distinct = [list(dict.fromkeys(c.steps for c in group)) for group in pool.candidates]
    scores = session.score(distinct, remember=False)
    scored: list[list[Candidate]] = []
    for group, keys, values in zip(pool.candidates, distinct, scores, strict=True):
        totals = reduce_scores(values, reduce).tolist()
        found = {
            key: (tuple(x.tolist()), total)
            for key, x, total in zip(keys, values, totals, strict=True)
        }
        scored.append(
            [replace(c, scores=found[c.steps][0], total=found[c.steps][1]) for c in group]
        )
    return scored, session.tokens


def pack(
    generation: Generation, tokens: Sequence[Sequence[Tensor]], chosen: Sequence[Sequence[int]]
) -> LongTensor:
    """The chosen candidates of each prompt as sequences, (b * k, t) int64.

    Args:
        generation: holds the prompts.
        tokens: new ids, (t,) int64, of each candidate of each prompt.
        chosen: indices of the candidates to return, k a prompt.
    """
    return generation.pack([(p, tokens[p][i]) for p, picks in enumerate(chosen) for i in picks])
