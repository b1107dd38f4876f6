"""Tokens and seconds of a step search beside libraries that read all text again at each step.

    pip install --no-deps its_hub==1.2.0                        # optional
    git clone https://github.com/huggingface/search-and-learn   # optional
    python -m benchmarks.speed.cost --search-and-learn search-and-learn

Every row is the same search with the packaged generator and reward model: n candidates for each
step, the best one kept, steps of a fixed number of tokens. "read" counts tokens that went through a
forward pass, "of unique" divides the scorer's tokens by those of the prompt and of each candidate
read once, and "own" are the seconds without the scorer's. The last row of each length samples as
many tokens by one plain ``generate``, without a scorer. Checked first: the cached scores of the
kept solution equal those of one pass over it, and every row samples equally many tokens.
"""

import argparse
import asyncio
import importlib.util
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from benchmarks.speed import search_and_learn
from reason_decode import StepSearch, tiny
from reason_decode.io.console import table
from reason_decode.models.inputs import pad_rows
from reason_decode.scorers.base import Candidates, Scorer, Session

PROMPT = "Make 36 from 4 5 6 10.\n"


Run = Callable[[tiny.Tiny, int, int, int], "SearchCost"]
"""``(models, n, steps, length)`` -> the cost of one search."""


@dataclass
class SearchCost:
    """Tokens and seconds of one search.

    Args:
        read: tokens that the generator read.
        sampled: tokens that the generator sampled.
        scored: tokens that the scorer read.
        unique: tokens of the prompt and of all candidates, each counted once.
        seconds: seconds of the search.
        scoring: seconds of the scorer.
    """

    read: int = 0
    sampled: int = 0
    scored: int = 0
    unique: int = 0
    seconds: float = 0.0
    scoring: float = 0.0


class FixedLengthSteps:
    """Logits processor: steps of random digits, one token each, with a newline at the end.

    Args:
        models: the packaged models.
        length: tokens of a step, with the newline.
    """

    def __init__(self, models: tiny.Tiny, length: int) -> None:
        tokenizer: Any = models.tokenizer
        self.newline = tokenizer.convert_tokens_to_ids("Ċ")
        self.digits = tokenizer.convert_tokens_to_ids(list("0123456789"))
        self.length = length

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        """Scores (r, v): 0 for tokens that may come next, minus infinity for the others."""
        allowed = torch.full_like(scores, -torch.inf)
        for row, last in enumerate(ids[:, -self.length :].tolist()):
            due = last[::-1].index(self.newline) == self.length - 1
            allowed[row, [self.newline] if due else self.digits] = 0.0
        return allowed


class TimedScorer(Scorer):
    """A scorer that measures how long its sessions take.

    Args:
        inner: the scorer to be timed.
    """

    def __init__(self, inner: Scorer) -> None:
        self.inner, self.splitter, self.score_space = inner, inner.splitter, inner.score_space
        self.seconds = 0.0

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of the inner scorer."""
        return self.timed(self.inner.score, prompts, solutions)

    def start_session(self, prompts: Sequence[str]) -> "TimedSession":
        """A timed session of the inner scorer; the seconds include reading the prompts."""
        return TimedSession(self, self.timed(self.inner.start_session, prompts))

    def timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a call, its seconds added to ``seconds``."""
        start = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.seconds += time.perf_counter() - start


class TimedSession(Session):
    """A session whose calls add to the seconds of a ``TimedScorer``.

    Args:
        clock: the scorer that counts the seconds.
        inner: the session to be timed.
    """

    def __init__(self, clock: TimedScorer, inner: Session) -> None:
        super().__init__(inner.prompts)
        self.clock, self.inner, self.tokens_read = clock, inner, inner.tokens_read

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the inner session."""
        scores = self.clock.timed(self.inner.score, candidates, keep_cache)
        self.tokens_read = self.inner.tokens_read
        return scores

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Select the trajectories of the inner session."""
        self.clock.timed(self.inner.select, choice)
        self.prompts = self.inner.prompts


def ours(models: tiny.Tiny, n: int, steps: int, length: int) -> SearchCost:
    """The cost of ``StepSearch``, which reads each token once."""
    timed = TimedScorer(models.prm)
    strategy = StepSearch(timed, tokenizer=models.tokenizer, n=n, max_steps=steps)
    inputs = models.tokenizer([PROMPT], return_tensors="pt")
    start = time.perf_counter()
    out = models.model.generate(
        **inputs,
        do_sample=True,
        max_new_tokens=steps * length,
        logits_processor=[FixedLengthSteps(models, length)],
        custom_generate=strategy,
        return_dict_in_generate=True,
    )
    seconds = time.perf_counter() - start
    (trace,) = out.traces
    (uncached,) = models.prm.score([PROMPT], [trace.best.steps])
    torch.testing.assert_close(torch.tensor(trace.best.scores), uncached, atol=1e-4, rtol=0)
    prompt = len(models.prm.encode(PROMPT, ()).ids)
    unique = prompt + sum(step.tokens for steps in trace.rounds for step in steps)
    read = out.cost.prefill + out.cost.decode
    return SearchCost(read, out.cost.sampled, out.cost.scorer, unique, seconds, timed.seconds)


def its_hub(models: tiny.Tiny, n: int, steps: int, length: int) -> SearchCost:
    """The cost of its_hub's ``BeamSearch`` with the same two models."""
    api, lms = _peer("api"), _peer("core.lms.step_generation")
    search = _peer("core.algorithms.beam_search")
    cost = SearchCost()

    class Generator(api.AbstractLanguageModel):
        async def agenerate(self, messages: Any, stop: Any = None, **_: Any) -> Any:
            texts = ["".join(turn.content for turn in turns) for turns in messages]
            return [
                {"role": "assistant", "content": x}
                for x in _sample_step(models, texts, length, cost)
            ]

    class RewardModel(api.AbstractProcessRewardModel):
        def score(self, prompt: Any, solutions: Any) -> Any:
            return _score_last(models, prompt, solutions, cost)

        async def ascore(self, prompt: Any, solutions: Any) -> Any:
            return self.score(prompt, solutions)

    # It makes one step more than max_steps.
    generation = lms.StepGeneration(max_steps=steps - 1, step_token="\n", temperature=1.0)
    start = time.perf_counter()
    asyncio.run(
        search.BeamSearch(generation, RewardModel(), 1).ainfer(Generator(), PROMPT, budget=n)
    )
    cost.seconds = time.perf_counter() - start
    return cost


def search_and_learns(search: Callable[..., str], name: str) -> Run:
    """A run of one of search-and-learn's searches with the same two models.

    Args:
        search: from ``search_and_learn.load``.
        name: ``beam_search`` or ``dvts``.
    """

    def run(models: tiny.Tiny, n: int, steps: int, length: int) -> SearchCost:
        cost = SearchCost()

        def write(texts: Sequence[str], _: bool) -> list[str]:
            return [step + "\n" for step in _sample_step(models, texts, length, cost)]

        def score(solutions: Sequence[str]) -> list[float]:
            return _score_last(models, PROMPT, solutions, cost)

        start = time.perf_counter()
        search(name, PROMPT, write, score, n=n, steps=steps)
        cost.seconds = time.perf_counter() - start
        return cost

    return run


def plain_loop(models: tiny.Tiny, n: int, steps: int, length: int) -> SearchCost:
    """The cost of the obvious loop: generate a step, score the whole texts, keep the best."""
    cost, kept = SearchCost(), ""
    start = time.perf_counter()
    for _ in range(steps):
        steps_written = _sample_step(models, [PROMPT + kept] * n, length, cost)
        texts = [kept + step for step in steps_written]
        scores = _score_last(models, PROMPT, texts, cost)
        kept = texts[max(range(n), key=scores.__getitem__)] + "\n"
    cost.seconds = time.perf_counter() - start
    return cost


def plain_generate(models: tiny.Tiny, n: int, steps: int, length: int) -> SearchCost:
    """The cost of sampling as many tokens by one call of plain ``generate``."""
    inputs = models.tokenizer([PROMPT], return_tensors="pt")
    start = time.perf_counter()
    models.model.generate(
        **inputs,
        do_sample=True,
        num_return_sequences=n,
        max_new_tokens=steps * length,
        logits_processor=[FixedLengthSteps(models, length)],
    )
    read = n * (inputs["input_ids"].shape[1] + steps * length - 1)
    return SearchCost(read, n * steps * length, seconds=time.perf_counter() - start)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n", type=int, default=8, help="candidates of a step (default: 8)")
    parser.add_argument(
        "--steps", type=int, nargs="+", default=[5, 10, 20], help="(default: 5 10 20)"
    )
    parser.add_argument("--length", type=int, default=24, help="tokens of a step (default: 24)")
    parser.add_argument(
        "--rounds", type=int, default=3, help="timed rounds; seconds are medians (default: 3)"
    )
    parser.add_argument("--search-and-learn", metavar="FOLDER", help="a checkout of it")
    args = parser.parse_args(argv)
    models = tiny.load()
    runs = _runs(args.search_and_learn)
    rows: list[dict[str, str]] = []
    for steps in tqdm(args.steps, unit="length", disable=None):
        for run in runs.values():
            run(models, args.n, 1, args.length)  # Warm up.
        costs: dict[str, list[SearchCost]] = {name: [] for name in runs}
        for seed in range(args.rounds):
            for name, run in runs.items():
                torch.manual_seed(seed)
                costs[name].append(run(models, args.n, steps, args.length))
                if (sampled := costs[name][-1].sampled) != args.n * steps * args.length:
                    raise AssertionError(f"{name} sampled {sampled} tokens, unlike the others")
        rows += _rows({name: _median(x) for name, x in costs.items()}, steps)
    print(table(rows))
    if "its_hub" not in runs:
        print("its_hub is left out: pip install --no-deps its_hub==1.2.0")
    if not args.search_and_learn:
        print(search_and_learn.HOW_TO_GET)
    return 0


def _runs(checkout: str | None) -> dict[str, Run]:
    runs: dict[str, Run] = {"reason-decode": ours}
    if importlib.util.find_spec("its_hub") is not None:
        runs["its_hub"] = its_hub
    if checkout:
        search = search_and_learn.load(checkout)
        runs |= {
            f"search-and-learn {name}": search_and_learns(search, name)
            for name in ("beam_search", "dvts")
        }
    return runs | {"plain loop": plain_loop, "plain generate": plain_generate}


def _median(runs: Sequence[SearchCost]) -> SearchCost:
    """The tokens of the first run and the median seconds of all."""
    seconds = statistics.median(run.seconds for run in runs)
    own = statistics.median(run.seconds - run.scoring for run in runs)
    return replace(runs[0], seconds=seconds, scoring=seconds - own)


def _rows(found: dict[str, SearchCost], steps: int) -> list[dict[str, str]]:
    base = found["reason-decode"]
    return [
        {
            "search": name,
            "steps": str(steps),
            "generator read": str(x.read),
            "sampled": str(x.sampled),
            "scorer read": str(x.scored),
            "of unique": f"{x.scored / base.unique:.2f}",
            "times ours": f"{x.scored / base.scored:.1f}",
            "seconds": f"{x.seconds:.2f}",
            "own": f"{x.seconds - x.scoring:.2f}",
        }
        for name, x in found.items()
    ]


def _sample_step(
    models: tiny.Tiny, texts: Sequence[str], length: int, cost: SearchCost
) -> list[str]:
    """The next step of each text by plain ``generate``, which reads the whole text."""
    inputs = models.tokenizer(list(texts), return_tensors="pt", padding=True)
    out = models.model.generate(
        **inputs,
        do_sample=True,
        max_new_tokens=length,
        logits_processor=[FixedLengthSteps(models, length)],
    )
    # The last token of each row is sampled and never read.
    cost.read += int(inputs["attention_mask"].sum()) + len(texts) * (length - 1)
    cost.sampled += len(texts) * length
    new = models.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :])
    return [text.strip() for text in new]


@torch.no_grad()
def _score_last(
    models: tiny.Tiny, prompt: str, solutions: Sequence[str], cost: SearchCost
) -> list[float]:
    """P(right) of the last step of each solution, by one pass over the whole text."""
    start = time.perf_counter()
    prm, splitter = models.prm, models.prm.splitter
    encoded = [prm.encode(prompt, splitter.split(solution)) for solution in solutions]
    cost.scored += sum(len(x.ids) for x in encoded)
    ids, mask = pad_rows([x.ids for x in encoded], side="right")
    features = prm.forward(input_ids=ids, attention_mask=mask)
    last = torch.stack(
        [row[x.score_positions[-1]] for row, x in zip(features, encoded, strict=True)]
    )
    scores = prm.prob_correct(last).tolist()
    cost.scoring += time.perf_counter() - start
    return scores


def _peer(module: str) -> Any:
    return importlib.import_module(f"its_hub.{module}")


if __name__ == "__main__":
    sys.exit(main())
