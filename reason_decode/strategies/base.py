"""What strategies share: starting a call, sampling whole candidates, handing back the choice."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
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
from transformers.generation.streamers import BaseStreamer

from reason_decode.core.records import Candidate, Cost, Trace
from reason_decode.core.steps import StepSplitter
from reason_decode.generation.batch import Branch
from reason_decode.generation.engine import Generation
from reason_decode.generation.output import ReasoningOutput
from reason_decode.models.tokenization import decode
from reason_decode.scorers.base import ScoreSpace, Session, check_scorer_argument
from reason_decode.scorers.reduction import Reduce, reduce_scores
from reason_decode.strategies.budget import Budget
from reason_decode.strategies.save import publish


@dataclass(frozen=True, eq=False)
class Strategy:
    """A frozen ``custom_generate`` callable; ``run`` is what each strategy adds.

    It holds its tokenizer, since ``generate`` drops ``tokenizer=`` (and ``streamer=``) before a
    callable is reached. It keeps nothing between calls, so that one object serves many threads.

    Args:
        streamer: is put the tokens of the answer as soon as no choice to come can change them, for
            one prompt at a time: step by step where a search keeps them, else at the end.
    """

    streamer: BaseStreamer | None = field(default=None, kw_only=True, repr=False)

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
        with torch.no_grad():
            generation = Generation(
                type(self).__name__,
                model,
                input_ids,
                logits_processor,
                stopping_criteria,
                generation_config,
                model_kwargs,
                self.streamer,
            )
            try:
                generation.stream.open(input_ids)
                sequences, traces, cost = self.run(generation)
                generation.stream.commit(sequences[0, input_ids.shape[1] :])
            finally:
                generation.stream.close()
        if not generation_config.return_dict_in_generate:
            return sequences
        return ReasoningOutput(sequences=sequences, traces=tuple(traces), cost=cost)

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Decode: sequences (b * k, t), one trace a prompt, and what it cost."""
        raise NotImplementedError

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a folder that ``generate(custom_generate=folder, trust_remote_code=True)`` takes.

        It names the scorer by where that was loaded from, and can be uploaded to the Hub as it is.

        Args:
            folder: made if it is not there.

        Raises:
            ValueError: an argument cannot be written down, such as a function or a scorer that was
                not loaded from anywhere.
        """
        publish(self, Path(folder))

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
            f"{generation.strategy_name} compares n={n} candidates, which greedy decoding makes "
            "all alike; pass do_sample=True (and a temperature) to generate, or n=1"
        )
    if generation.num_return_sequences > most:
        raise ValueError(
            f"got num_return_sequences={generation.num_return_sequences}; "
            f"{generation.strategy_name} returns at most {most} ({what}). Lower it, or "
            f"raise {what.split(' ')[0]}"
        )


def check_positive(**counts: int) -> None:
    """Raise unless every count is a whole number of at least 1.

    Raises:
        ValueError: one is not.
    """
    for name, count in counts.items():
        # True is a whole number too, and no one means it.
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise ValueError(f"got {name}={count!r}; pass a whole number of at least 1")


def check_caps(**caps: int | None) -> None:
    """Raise unless every cap is ``None`` or a whole number of at least 1.

    Raises:
        ValueError: one is not.
    """
    for name, cap in caps.items():
        if cap is not None:
            check_positive(**{name: cap})


def check_parts(strategy: "Strategy", **scorers: object) -> None:
    """Raise unless a strategy's tokenizer, streamer and scorers are such.

    Raises:
        ValueError: one is something else, such as the name that it could be loaded by.
    """
    tokenizer: Any = getattr(strategy, "tokenizer", None)
    if not hasattr(tokenizer, "decode") or isinstance(tokenizer, bytes | type):
        raise ValueError(
            f"got tokenizer={tokenizer!r:.80}; pass the generator's own, loaded: "
            "AutoTokenizer.from_pretrained(...)"
        )
    if strategy.streamer is not None and not hasattr(strategy.streamer, "put"):
        raise ValueError(
            f"got streamer={strategy.streamer!r:.80}; pass one with put() and end(), such as "
            "transformers.TextStreamer(tokenizer), or None"
        )
    for name, scorer in scorers.items():
        check_scorer_argument(name, scorer)


def prompt_texts(generation: Generation, tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """The prompts as text, without special tokens."""
    rows = [generation.unpadded_prompt(k) for k in range(len(generation.prompt_ids))]
    return [decode(tokenizer, row) for row in rows]


@dataclass(frozen=True)
class Pool:
    """Whole candidates of each prompt: the sampled ids, (t,) int64, and how they read."""

    prompts: list[str]
    tokens: list[list[Tensor]]
    candidates: list[list[Candidate]]


def sample_pool(
    generation: Generation,
    tokenizer: PreTrainedTokenizerBase,
    splitter: StepSplitter,
    n: int,
    max_tokens: int | None = None,
    enough: Callable[[int, Sequence[Branch]], bool] | None = None,
) -> Pool:
    """Read each prompt once and sample n whole candidates of it, or fewer.

    Args:
        generation: the call.
        tokenizer: the generator's.
        splitter: says where steps end.
        n: candidates a prompt.
        max_tokens: to be sampled of a prompt, over all its candidates; ``None``: no cap.
        enough: given a prompt's index and what was just sampled of it, whether that will do.
    """
    if max_tokens is None and enough is None:
        flat = generation.sample(generation.prefill(), n)
        branches = [flat[start : start + n] for start in range(0, len(flat), n)]
    else:
        branches = _sample_by_turns(generation, n, max_tokens, enough)
    candidates = [[_candidate(x, tokenizer, splitter) for x in group] for group in branches]
    tokens = [[branch.tokens for branch in group] for group in branches]
    return Pool(prompt_texts(generation, tokenizer), tokens, candidates)


def num_parallel(n: int) -> int:
    """How many of n candidates are sampled at a time where fewer than n may do."""
    return max(1, n // 8)


def _sample_by_turns(
    generation: Generation,
    n: int,
    max_tokens: int | None,
    enough: Callable[[int, Sequence[Branch]], bool] | None,
) -> list[list[Branch]]:
    """What was sampled of each prompt until it was enough or the budget was spent."""
    prompts = generation.prefill()
    branches: list[list[Branch]] = [[] for _ in prompts.remaining_tokens]
    budget = Budget(len(branches), max_tokens)
    going, asked = list(range(len(branches))), 0
    while going and asked < n:
        count = min(num_parallel(n), n - asked)
        asked += count
        rows = generation.clone_rows(prompts, going)
        budget.ration(rows, going, count)
        flat = generation.sample(rows, count)
        over: set[int] = set()
        for k, p in enumerate(going):
            fresh = flat[k * count : (k + 1) * count]
            branches[p] += fresh
            budget.spend(p, fresh)
            if not budget.allows(p, count) or (enough is not None and enough(p, fresh)):
                over.add(p)
        going = [p for p in going if p not in over]
    return branches


def _candidate(
    branch: Branch, tokenizer: PreTrainedTokenizerBase, splitter: StepSplitter
) -> Candidate:
    text = decode(tokenizer, branch.tokens)
    steps = tuple(splitter.split(text))
    return Candidate(text, steps, finished=branch.finished, tokens=len(branch.tokens))


def score_pool(
    pool: Pool, session: Session, reduce: Reduce, score_space: ScoreSpace
) -> tuple[list[list[Candidate]], int]:
    """The candidates with their scores; equal ones of a prompt are read once.

    Args:
        pool: the candidates.
        session: opened over the pool's prompts, before anything was sampled: a prompt that the
            scorer cannot read is to cost no samples.
        reduce: how step scores become one.
        score_space: what the scores are.

    Returns:
        the candidates, and how many tokens the scorer read.
    """
    distinct = [list(dict.fromkeys(c.steps for c in group)) for group in pool.candidates]
    scores = session.score(distinct, keep_cache=False)
    scored: list[list[Candidate]] = []
    for group, keys, values in zip(pool.candidates, distinct, scores, strict=True):
        totals = reduce_scores(values, reduce, score_space).tolist()
        found = {
            key: (tuple(x.tolist()), total)
            for key, x, total in zip(keys, values, totals, strict=True)
        }
        scored.append(
            [replace(c, scores=found[c.steps][0], total=found[c.steps][1]) for c in group]
        )
    return scored, session.tokens_read


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
