"""Tokens and seconds of a step search, beside libraries that read everything again at each step.

    pip install --no-deps its_hub==1.2.0      # optional; its row is left out without
    git clone https://github.com/huggingface/search-and-learn      # optional, too
    python -m benchmarks.speed.cost --search-and-learn search-and-learn

The same search everywhere: n candidates a step, the best one kept, steps of a fixed number of
tokens, the packaged generator and reward model. Each row is one search; "read" is what went through
a forward pass before or beside sampling, "of unique" the scorer's tokens against those of the
prompt and of every candidate once. "own" are the seconds without the scorer's; the last rows sample
as many tokens by one plain ``generate``, which nobody judges. Checked first: the kept solution's
cached scores are those of one plain pass over it, and every row samples equally many tokens.
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
from reason_decode.scorers.base import Candidates, Scorer, Session

PROMPT = "Make 36 from 4 5 6 10.\n"


Run = Callable[[tiny.Tiny, int, int, int], "Spent"]


@dataclass
class Spent:
    """What one search cost: tokens by role, and seconds."""

    read: int = 0
    sampled: int = 0
    scored: int = 0
    unique: int = 0
    seconds: float = 0.0
    scoring: float = 0.0


class Metronome:
    """Steps of a fixed length: random digits, each a token of its own, and a newline in the end."""

    def __init__(self, models: tiny.Tiny, length: int) -> None:
        words: Any = models.tokenizer
        self.newline = words.convert_tokens_to_ids("Ċ")
        self.digits = words.convert_tokens_to_ids(list("0123456789"))
        self.length = length

    def __call__(self, ids: Tensor, scores: Tensor) -> Tensor:
        """Equal scores of all tokens that may come next, (r, v); of others minus infinity."""
        allowed = torch.full_like(scores, -torch.inf)
        for row, said in enumerate(ids[:, -self.length :].tolist()):
            due = said[::-1].index(self.newline) == self.length - 1
            allowed[row, [self.newline] if due else self.digits] = 0.0
        return allowed


class Clocked(Scorer):
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

    def start_session(self, prompts: Sequence[str]) -> "ClockedSession":
        """A session of the inner scorer, timed, reading the prompts included."""
        return ClockedSession(self, self.timed(self.inner.start_session, prompts))

    def timed(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """The result of a call, its seconds added to ``seconds``."""
        start = time.perf_counter()
        try:
            return call(*arguments)
        finally:
            self.seconds += time.perf_counter() - start


class ClockedSession(Session):
    """A session whose calls add to the seconds of a ``Clocked`` scorer.

    Args:
        clock: counts the seconds.
        inner: the session to be timed.
    """

    def __init__(self, clock: Clocked, inner: Session) -> None:
        super().__init__(inner.prompts)
        self.clock, self.inner, self.tokens_read = clock, inner, inner.tokens_read

    def score(self, candidates: Candidates, keep_cache: bool = True) -> list[list[Tensor]]:
        """Scores of the inner session."""
        scores = self.clock.timed(self.inner.score, candidates, keep_cache)
        self.tokens_read = self.inner.tokens_read
        return scores

    def select(self, choice: Sequence[tuple[int, int]]) -> None:
        """Passed on."""
        self.clock.timed(self.inner.select, choice)
        self.prompts = self.inner.prompts


def ours(models: tiny.Tiny, n: int, steps: int, length: int) -> Spent:
    """``StepSearch``: caches are branched, each token is read once."""
    clocked = Clocked(models.prm)
    strategy = StepSearch(clocked, tokenizer=models.tokenizer, n=n, max_steps=steps)
    inputs = models.tokenizer([PROMPT], return_tensors="pt")
    start = time.perf_counter()
    out = models.model.generate(
        **inputs,
        do_sample=True,
        max_new_tokens=steps * length,
        logits_processor=[Metronome(models, length)],
        custom_generate=strategy,
        return_dict_in_generate=True,
    )
    seconds = time.perf_counter() - start
    (trace,) = out.traces
    (alone,) = models.prm.score([PROMPT], [trace.best.steps])
    torch.testing.assert_close(torch.tensor(trace.best.scores), alone, atol=1e-4, rtol=0)
    cost = out.cost
    unique = _length(models, PROMPT) + sum(step.tokens for x in trace.rounds for step in x)
    read = cost.prefill + cost.decode
    return Spent(read, cost.sampled, cost.scorer, unique, seconds, clocked.seconds)


def its_hub(models: tiny.Tiny, n: int, steps: int, length: int) -> Spent:
    """its_hub's ``BeamSearch`` over the same two models, behind the interfaces that it asks for."""
    api, lms = _peer("api"), _peer("core.lms.step_generation")
    search = _peer("core.algorithms.beam_search")
    spent = Spent()

    class Generator(api.AbstractLanguageModel):
        async def agenerate(self, messages: Any, stop: Any = None, **_: Any) -> Any:
            texts = ["".join(turn.content for turn in turns) for turns in messages]
            return [
                {"role": "assistant", "content": x} for x in _next(models, texts, length, spent)
            ]

    class Judge(api.AbstractProcessRewardModel):
        def score(self, prompt: Any, solutions: Any) -> Any:
            return _judged(models, prompt, solutions, spent)

        async def ascore(self, prompt: Any, solutions: Any) -> Any:
            return self.score(prompt, solutions)

    # It takes one step more than max_steps says.
    generation = lms.StepGeneration(max_steps=steps - 1, step_token="\n", temperature=1.0)
    start = time.perf_counter()
    asyncio.run(search.BeamSearch(generation, Judge(), 1).ainfer(Generator(), PROMPT, budget=n))
    spent.seconds = time.perf_counter() - start
    return spent


def search_and_learns(search: Callable[..., str], name: str) -> Run:
    """Its search of this name over the same two models."""

    def run(models: tiny.Tiny, n: int, steps: int, length: int) -> Spent:
        spent = Spent()

        def write(texts: Sequence[str], _: bool) -> list[str]:
            return [step + "\n" for step in _next(models, texts, length, spent)]

        def judge(solutions: Sequence[str]) -> list[float]:
            return _judged(models, PROMPT, solutions, spent)

        start = time.perf_counter()
        search(name, PROMPT, write, judge, n=n, steps=steps)
        spent.seconds = time.perf_counter() - start
        return spent

    return run


def plain(models: tiny.Tiny, n: int, steps: int, length: int) -> Spent:
    """The loop that one writes first: generate, score the whole texts, keep the best, repeat."""
    spent, kept = Spent(), ""
    start = time.perf_counter()
    for _ in range(steps):
        said = _next(models, [PROMPT + kept] * n, length, spent)
        texts = [kept + step for step in said]
        scores = _judged(models, PROMPT, texts, spent)
        kept = texts[max(range(n), key=scores.__getitem__)] + "\n"
    spent.seconds = time.perf_counter() - start
    return spent


def unsearched(models: tiny.Tiny, n: int, steps: int, length: int) -> Spent:
    """As many tokens from one call of plain ``generate``."""
    inputs = models.tokenizer([PROMPT], return_tensors="pt")
    start = time.perf_counter()
    models.model.generate(
        **inputs,
        do_sample=True,
        num_return_sequences=n,
        max_new_tokens=steps * length,
        logits_processor=[Metronome(models, length)],
    )
    read = n * (inputs["input_ids"].shape[1] + steps * length - 1)
    return Spent(read, n * steps * length, seconds=time.perf_counter() - start)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the searches and print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--n", type=int, default=8)
    parser.add_argument("--steps", type=int, nargs="+", default=[5, 10, 20])
    parser.add_argument("--length", type=int, default=24, help="tokens a step")
    parser.add_argument("--rounds", type=int, default=3, help="in turns; seconds are medians")
    parser.add_argument("--search-and-learn", metavar="FOLDER", help="its checkout")
    args = parser.parse_args(argv)
    models = tiny.load()
    runs = _runs(args.search_and_learn)
    rows: list[dict[str, str]] = []
    for steps in tqdm(args.steps, unit="length", disable=None):
        for run in runs.values():
            run(models, args.n, 1, args.length)  # whatever is made once is made before the clock
        taken: dict[str, list[Spent]] = {name: [] for name in runs}
        for seed in range(args.rounds):
            for name, run in runs.items():
                torch.manual_seed(seed)
                taken[name].append(run(models, args.n, steps, args.length))
                if (sampled := taken[name][-1].sampled) != args.n * steps * args.length:
                    raise AssertionError(f"{name} sampled {sampled} tokens, unlike the others")
        rows += _rows({name: _median(x) for name, x in taken.items()}, steps)
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
    return runs | {"plain loop": plain, "plain generate": unsearched}


def _median(runs: Sequence[Spent]) -> Spent:
    """The first run's tokens, with the medians of all runs' seconds."""
    seconds = statistics.median(run.seconds for run in runs)
    own = statistics.median(run.seconds - run.scoring for run in runs)
    return replace(runs[0], seconds=seconds, scoring=seconds - own)


def _rows(found: dict[str, Spent], steps: int) -> list[dict[str, str]]:
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


def _next(models: tiny.Tiny, texts: Sequence[str], length: int, spent: Spent) -> list[str]:
    """One step of each text by plain ``generate``, which reads the text again."""
    inputs = models.tokenizer(list(texts), return_tensors="pt", padding=True)
    out = models.model.generate(
        **inputs,
        do_sample=True,
        max_new_tokens=length,
        logits_processor=[Metronome(models, length)],
    )
    # The last token of each row is sampled, and never read.
    spent.read += int(inputs["attention_mask"].sum()) + len(texts) * (length - 1)
    spent.sampled += len(texts) * length
    new = models.tokenizer.batch_decode(out[:, inputs["input_ids"].shape[1] :])
    return [text.strip() for text in new]


@torch.no_grad()
def _judged(models: tiny.Tiny, prompt: str, solutions: Sequence[str], spent: Spent) -> list[float]:
    """P(right) of the last step of each solution by one pass over all of its text."""
    start = time.perf_counter()
    layouts = [
        models.prm.format.encode(prompt, models.prm.splitter.split(solution))
        for solution in solutions
    ]
    spent.scored += sum(len(layout.ids) for layout in layouts)
    rows = models.tokenizer.pad(
        {"input_ids": [layout.ids for layout in layouts]}, padding_side="right", return_tensors="pt"
    )
    features = models.prm.format.read(**rows)
    last = torch.stack([row[x.ends[-1]] for row, x in zip(features, layouts, strict=True)])
    scores = models.prm.format.right(last).tolist()
    spent.scoring += time.perf_counter() - start
    return scores


def _length(models: tiny.Tiny, text: str) -> int:
    return len(models.prm.format.encode(text, ()).ids)


def _peer(module: str) -> Any:
    return importlib.import_module(f"its_hub.{module}")


if __name__ == "__main__":
    sys.exit(main())
