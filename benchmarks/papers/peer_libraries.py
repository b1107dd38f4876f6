"""Other libraries' searches and votes over the packaged models, with their tokens counted."""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

from reason_decode import tiny
from reason_decode.core.answers import answer_value, extract_answer
from reason_decode.core.options import Reduce
from reason_decode.scorers.base import reduce_scores
from reason_decode.tasks import Task

NEWLINE = "\n"
# The beginning of the last line of the packaged generator's solutions.
LAST = "Answer:"


@dataclass
class CountedModels:
    """The generator and the scorer as the peers call them, with the tokens that this has cost.

    Args:
        models: the packaged models.
        task: gives the budget of new tokens.
        n: samples of each request.
        steps: lines that a search may write.
        read: tokens that the generator has read.
        sampled: tokens that it has sampled.
        scored: tokens that the scorer has read.
    """

    models: tiny.Tiny
    task: Task
    n: int
    steps: int
    read: int = 0
    sampled: int = 0
    scored: int = 0
    newline_id: int = field(init=False)

    def __post_init__(self) -> None:
        tokenizer: Any = self.models.tokenizer
        self.newline_id = tokenizer.convert_tokens_to_ids("Ċ")

    def write(self, texts: Sequence[str], *, line: bool) -> list[str]:
        """A sampled continuation of each text.

        Args:
            texts: prompts with the solutions so far.
            line: whether to stop at the end of the line.
        """
        tokenizer: Any = self.models.tokenizer
        inputs = tokenizer(list(texts), return_tensors="pt", padding=True)
        ends = [tokenizer.eos_token_id, *([self.newline_id] if line else [])]
        limit = self.task.max_new_tokens
        out: Any = self.models.model.generate(
            **inputs, do_sample=True, top_k=0, max_new_tokens=limit, eos_token_id=ends
        )
        new = out[:, inputs["input_ids"].shape[1] :]
        lengths = (new != tokenizer.pad_token_id).sum(dim=1)
        # The last token of a row is sampled and never read.
        self.read += int(inputs["attention_mask"].sum()) + int((lengths - 1).sum())
        self.sampled += int(lengths.sum())
        return tokenizer.batch_decode(new, skip_special_tokens=True)

    def score(self, prompt: str, solutions: Sequence[str], reduce: Reduce) -> list[float]:
        """One number for each solution: its step scores, reduced."""
        prm = self.models.prm
        steps = [prm.splitter.split(text) for text in solutions]
        self.scored += sum(len(prm.encode(prompt, x).ids) for x in steps)
        return reduce_scores(prm.score([prompt] * len(steps), steps), reduce).tolist()


Solver = Callable[[CountedModels, str], str]
"""``(models, prompt)`` -> the text of the solution that a library chooses."""


def optillm_best(models: CountedModels, prompt: str) -> str:
    """A solution by optillm's ``best_of_n_sampling``, its marks being the scorer's scores."""
    module = importlib.import_module("optillm.bon")

    def create(messages: Any, n: int = 1, **_: Any) -> Any:
        solutions = [turn["content"] for turn in messages if turn["role"] == "assistant"]
        if solutions:
            mark = 10 * models.score(prompt, solutions[-1:], "prod")[0]
            return _openai_completion([f"{mark:.9f}"])
        return _openai_completion(models.write([prompt] * n, line=False))

    return module.best_of_n_sampling("", prompt, _openai_client(create), "tiny", n=models.n)[0]


def optillm_vote(models: CountedModels, prompt: str) -> str:
    """The first text of the largest cluster of optillm's ``AdvancedSelfConsistency``."""
    module = importlib.import_module("optillm.self_consistency")

    def create(**_: Any) -> Any:
        return _openai_completion(models.write([prompt], line=False))

    vote = module.AdvancedSelfConsistency(_openai_client(create), "tiny", num_samples=models.n)
    return vote.evaluate("", prompt)["aggregated_result"]["clusters"][0]["answer"]


def its_hub_best(models: CountedModels, prompt: str) -> str:
    """A solution by its_hub's ``BestOfN``."""
    api, bon = _its_hub("api"), _its_hub("core.algorithms.bon")

    class RewardModel(api.AbstractOutcomeRewardModel):
        async def ascore(self, conversations: Any, orchestrator: Any = None) -> Any:
            texts = [conversation[-1].content for conversation in conversations]
            return models.score(prompt, texts, "prod")

        def score(self, conversations: Any) -> Any:
            return asyncio.run(self.ascore(conversations))

    algorithm = bon.BestOfN(RewardModel(), _its_hub_orchestrator())
    answer = algorithm.ainfer(_its_hub_model(models), prompt, budget=models.n)
    return asyncio.run(answer)["content"]


def its_hub_search(models: CountedModels, prompt: str) -> str:
    """A solution by its_hub's ``BeamSearch`` of width one."""
    api, lms = _its_hub("api"), _its_hub("core.lms.step_generation")
    search = _its_hub("core.algorithms.beam_search")

    class RewardModel(api.AbstractProcessRewardModel):
        def score(self, prompt: Any, solutions: Any) -> Any:
            return models.score(prompt, solutions, "last")

        async def ascore(self, prompt: Any, solutions: Any) -> Any:
            return self.score(prompt, solutions)

    # It makes one step more than max_steps.
    steps = lms.StepGeneration(models.steps - 1, NEWLINE, stop_token=LAST, temperature=1.0)
    algorithm = search.BeamSearch(steps, RewardModel(), 1)
    answer = algorithm.ainfer(_its_hub_model(models), prompt, budget=models.n)
    return asyncio.run(answer)["content"]


def its_hub_vote(models: CountedModels, prompt: str) -> str:
    """A solution by its_hub's ``SelfConsistency`` over canonical answers."""
    vote = _its_hub("core.algorithms.self_consistency")

    def canonical_answer(text: str) -> str:
        answer = extract_answer(text) or ""
        return str(answer_value(answer) or answer)

    algorithm = vote.SelfConsistency(canonical_answer, orchestrator=_its_hub_orchestrator())
    answer = algorithm.ainfer(_its_hub_model(models), prompt, budget=models.n)
    return asyncio.run(answer)["content"]


def llm_reasoners_search(models: CountedModels, prompt: str) -> str:
    """A solution by llm-reasoners' ``BeamSearch`` of width one; states are the lines so far."""
    base = importlib.import_module("reasoners.base")
    algorithm = importlib.import_module("reasoners.algorithm")

    class World(base.WorldModel):
        def init_state(self) -> Any:
            return ()

        def step(self, state: Any, action: Any) -> Any:
            return (*state, action[0]), {}

        def is_terminal(self, state: Any) -> bool:
            return bool(state) and LAST in state[-1]

    class Config(base.SearchConfig):
        def get_actions(self, state: Any) -> Any:
            text = "".join(f"{line}{NEWLINE}" for line in state)
            lines = [x.strip() for x in models.write([prompt + text] * models.n, line=True)]
            scores = models.score(prompt, [text + line for line in lines], "last")
            return list(zip(lines, scores, strict=True))

        def reward(self, state: Any, action: Any, **_: Any) -> Any:
            return action[1], {}

    search = algorithm.BeamSearch(beam_size=1, max_depth=models.steps)
    found = base.Reasoner(World(), Config(), search)(prompt)
    return NEWLINE.join(found.terminal_state)


def search_and_learn_search(search: Callable[..., str]) -> Solver:
    """A solver that runs search-and-learn's ``beam_search`` with one kept beam.

    Args:
        search: from ``search_and_learn.load``.
    """

    def solve(models: CountedModels, prompt: str) -> str:
        def write(texts: Sequence[str], line: bool) -> list[str]:
            return models.write(texts, line=line)

        def score(solutions: Sequence[str]) -> list[float]:
            return models.score(prompt, solutions, "last")

        return search("beam_search", prompt, write, score, n=models.n, steps=models.steps)

    return solve


PEERS: dict[str, dict[str, Solver]] = {
    "best of n": {"its_hub": its_hub_best, "optillm": optillm_best},
    "step search": {"its_hub": its_hub_search, "llm-reasoners": llm_reasoners_search},
    "majority": {"its_hub": its_hub_vote, "optillm": optillm_vote},
}
"""The solvers of each contest, by library."""
MODULES = {"its_hub": "its_hub", "optillm": "optillm.bon", "llm-reasoners": "reasoners.algorithm"}
"""A module of each library that can be imported only if the library is usable."""


def is_importable(module: str) -> bool:
    """True if a module can be imported."""
    try:
        importlib.import_module(module)
    except ImportError:
        return False
    return True


def _its_hub(module: str) -> Any:
    return importlib.import_module(f"its_hub.{module}")


def _its_hub_orchestrator() -> Any:
    # Without a limit all n requests are made at once, so that they can be one batch.
    return _its_hub("core.orchestrator").LMOrchestrator(max_concurrency=-1)


def _its_hub_model(models: CountedModels) -> Any:
    """its_hub's language model; requests of the same turn of the event loop are one batch."""
    waiting: list[tuple[str, asyncio.Future[str]]] = []
    tasks: list[asyncio.Future[None]] = []

    async def flush() -> None:
        await asyncio.sleep(0)
        batch, waiting[:] = waiting[:], []
        texts = models.write([text for text, _ in batch], line=False)
        for (_, answer), text in zip(batch, texts, strict=True):
            answer.set_result(text)

    class LanguageModel(_its_hub("api").AbstractLanguageModel):
        async def agenerate(self, messages: Any, stop: Any = None, **_: Any) -> Any:
            texts = ["".join(turn.content for turn in turns) for turns in messages]
            lines = [text.strip() for text in models.write(texts, line=True)]
            return [{"role": "assistant", "content": line} for line in lines]

        async def agenerate_single(self, messages: Any, stop: Any = None, **_: Any) -> Any:
            answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
            waiting.append(("".join(turn.content for turn in messages), answer))
            if len(waiting) == 1:
                tasks.append(asyncio.ensure_future(flush()))
            return {"role": "assistant", "content": await answer}

    return LanguageModel()


def _openai_client(create: Callable[..., Any]) -> Any:
    """An object with the one method of OpenAI's client that optillm calls."""
    return SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))


def _openai_completion(texts: Sequence[str]) -> Any:
    choices = [
        SimpleNamespace(message=SimpleNamespace(content=text), finish_reason="stop")
        for text in texts
    ]
    return SimpleNamespace(choices=choices, usage=SimpleNamespace(completion_tokens=0))
