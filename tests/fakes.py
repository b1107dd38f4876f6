"""A model that says what a test wrote for it, its tokenizer, a strategy, a scorer."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from reason_decode.core.solutions import Candidate, Cost, Trace
from reason_decode.scorers.base import Scorer, ScoreSpace

PAD, END = 0, 1


class ByteTokenizer:
    """One token a byte."""

    pad_token_id, eos_token_id, chat_template = PAD, END, None
    all_special_ids = (PAD, END)

    def encode(self, text: str, add_special_tokens: bool = True) -> list[int]:
        return [2 + byte for byte in text.encode()]

    def decode(self, ids: Sequence[int] | Tensor, skip_special_tokens: bool = True) -> str:
        assert skip_special_tokens
        return bytes(int(i) - 2 for i in ids if i > 1).decode()

    def batch_decode(self, rows: Tensor, skip_special_tokens: bool = True) -> list[str]:
        return [self.decode(row, skip_special_tokens) for row in rows]

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        return {"input_ids": self.encode(text)}


class Guided:
    """Stands for a strategy: all texts that ``solve`` gives are candidates, the last is chosen."""

    def __init__(self, solve: Callable[[str], list[str]], votes: dict[str, float] | None = None):
        self.solve, self.votes, self.n = solve, votes or {}, 2

    def __call__(self, prompt: str) -> Trace:
        candidates = [
            Candidate(text, tuple(text.split("\n")), (0.25,) * len(text.split("\n")), 0.5)
            for text in self.solve(prompt)
        ]
        return Trace(prompt, "Guided", tuple(candidates), (len(candidates) - 1,), (), self.votes)


class ScriptedModel:
    """Continues each prompt by ``solve(prompt)``, or by what a ``Guided`` strategy chooses."""

    device = torch.device("cpu")
    generation_config = SimpleNamespace(eos_token_id=END, bos_token_id=None)

    def __init__(self, solve: Callable[[str], str] = str):
        self.solve, self.calls, self.tokenizer = solve, [], ByteTokenizer()

    def generate(self, *, input_ids: Tensor, custom_generate: Any = None, **kwargs: Any) -> Any:
        prompts = self.tokenizer.batch_decode(input_ids)
        self.calls.append({"prompts": prompts, "seed": torch.initial_seed(), **kwargs})
        traces = custom_generate and tuple(custom_generate(prompt) for prompt in prompts)
        texts = [t.best.text for t in traces] if traces else [self.solve(p) for p in prompts]
        rows = [[*self.tokenizer.encode(text), END] for text in texts]
        width = max(map(len, rows))
        new = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
        sequences = torch.cat([input_ids, new], dim=1)
        return SimpleNamespace(sequences=sequences, traces=traces, cost=Cost(1, 2, 3, 4))


class TableScorer(Scorer):
    """Scores each step by a function of its text, and records the calls."""

    score_space: ScoreSpace = "probability"

    def __init__(self, judge: Callable[[str], float]):
        self.judge, self.asked = judge, []

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        self.asked += zip(prompts, solutions, strict=True)
        texts = [self.splitter.split(x) if isinstance(x, str) else x for x in solutions]
        return [torch.tensor([self.judge(step) for step in steps]) for steps in texts]
