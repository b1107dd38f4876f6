"""Samples of problems and their scores, in a file that only grows.

Each line of the file is one event: samples of a problem, or scores of a problem's samples by one
scorer. A killed run resumes after the last whole line. A larger pool or another scorer adds lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Literal, NamedTuple, Self

import torch
from tqdm import tqdm

from reason_decode import OutcomeRewardModel, ProcessRewardModel, SelfConsistency
from reason_decode.evaluation.complete import complete
from reason_decode.models.chat_template import has_chat_template
from reason_decode.models.generation_config import clean_generation_config
from reason_decode.models.loading import load_model, packaged
from reason_decode.runs.resumable import ResumableRun
from reason_decode.runs.settings import folder_fingerprint
from reason_decode.scorers.loading import load_scorer, scorer_kind
from reason_decode.tasks import Item, Task, chat_prompt


@dataclass
class StoredSamples:
    """The samples of one problem so far.

    Args:
        prompt: the problem.
        texts: the samples.
        correct: whether each sample is right.
        scores: key of a scorer -> the step scores of each sample.
    """

    prompt: str
    texts: list[str] = field(default_factory=list)
    correct: list[bool] = field(default_factory=list)
    scores: dict[str, list[list[float]]] = field(default_factory=dict)


class ScorerSpec(NamedTuple):
    """A scorer of whole solutions by its name.

    Attributes:
        kind: process or outcome reward model.
        name: ``tiny``, a folder or a Hub id.
        neutral: what the middle of a PRM's three labels counts as; ``None`` for the default.
    """

    kind: Literal["PRM", "ORM"]
    name: str
    neutral: str | None = None

    @classmethod
    def parse(cls, text: str) -> "ScorerSpec":
        """The scorer of ``tiny``, ``FOLDER``, ``prm=FOLDER`` or ``orm=FOLDER``.

        Raises:
            ValueError: the folder holds neither kind.
        """
        word, equals, name = text.partition("=")
        if not equals:
            word, name = ("prm" if text == "tiny" else scorer_kind(text)), text
        if word == "prm":
            return cls("PRM", name)
        if word == "orm":
            return cls("ORM", name)
        raise ValueError(
            f"got the scorer {text!r}; allowed are tiny, the folder or Hub id of a process or "
            "outcome reward model, prm=FOLDER and orm=FOLDER"
        )

    @property
    def key(self) -> str:
        """The key of its scores in the file, which other weights of the same name do not have."""
        key = f"{self.kind} {self.name} {fingerprint(self.name, self.kind.lower())}"
        return (
            f"{key} of whole solutions" if self.neutral is None else f"{key} neutral {self.neutral}"
        )

    def load(self) -> Any:
        """Load the scorer."""
        folder = packaged(self.kind.lower()) if self.name == "tiny" else self.name
        if self.kind == "ORM":
            return OutcomeRewardModel.from_pretrained(folder)
        if self.neutral is None:
            return load_scorer(self.name, whole_solutions=True)
        return ProcessRewardModel.from_pretrained(folder, neutral=self.neutral)


class PoolStore(AbstractContextManager["PoolStore"]):
    """Samples and scores by problem, in a file that only grows and is locked while it is open.

    Args:
        path: the file, made if it does not exist.
        source: everything that the samples depend on; a file of another source is refused.

    Attributes:
        pools: id of a problem -> its samples.

    Raises:
        ValueError: on entering, the file has samples of another source, or a line does not fit the
            lines before it.
    """

    def __init__(self, path: Path, source: dict[str, Any]) -> None:
        self.pools: dict[int | str, StoredSamples] = {}
        self.run = ResumableRun(path, source, _keys, 0, in_place=True)

    def __enter__(self) -> Self:
        self.run.__enter__()
        for number, row in enumerate(self.run.rows(), start=1):
            try:
                self._add(row)
            except (KeyError, ValueError) as error:
                self.run.__exit__(None, None, None)
                raise ValueError(
                    f"line {number} of {self.run.output} does not fit the lines before it: "
                    f"{error!r}; name another --store"
                ) from error
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self.run.__exit__(kind, value, trace)

    def add_samples(self, id: int | str, prompt: str, texts: Any, correct: Any) -> None:
        """Append samples of a problem."""
        start = len(self.pools[id].texts) if id in self.pools else 0
        samples = {"start": start, "samples": list(texts), "correct": list(correct)}
        self._record({"id": id, "prompt": prompt, **samples})

    def add_scores(self, id: int | str, key: str, scores: Any) -> None:
        """Append scores of the first samples that this scorer has not scored."""
        start = len(self.pools[id].scores.get(key, ()))
        self._record({"id": id, "start": start, "scorer": key, "scores": scores})

    def _record(self, row: dict[str, Any]) -> None:
        self.run.append(row)
        self._add(row)

    def _add(self, row: Mapping[str, Any]) -> None:
        if "samples" in row:
            pool = self.pools.setdefault(row["id"], StoredSamples(row["prompt"]))
            _append(pool.texts, row["start"], row["samples"])
            _append(pool.correct, row["start"], row["correct"])
        else:
            scores = self.pools[row["id"]].scores.setdefault(row["scorer"], [])
            _append(scores, row["start"], row["scores"])


def sample(
    store: PoolStore,
    task: Task,
    items: Sequence[Item],
    *,
    size: int,
    chunk: int,
    model: str,
    temperature: float,
    seed: int,
    chat: bool = True,
) -> None:
    """Sample until each problem has enough samples.

    Each chunk has its own random state, so that a stopped run continues with equal samples.

    Args:
        store: the store to add to.
        task: grades the samples.
        items: the problems.
        size: samples of a problem.
        chunk: the most samples that are drawn in one call.
        model: ``tiny``, a folder or a Hub id.
        temperature: sampling temperature.
        seed: seed of all samples.
        chat: whether problems are put as conversations, if the model has a chat template.
    """
    generator: Any = None
    tokenizer: Any = None
    for item in tqdm(items, desc="sampling", unit="problem", disable=None):
        while (start := len(_texts(store, item))) < size:
            if generator is None:
                generator, tokenizer = load_model(model)
                chat = chat and has_chat_template(tokenizer)
                generator.generation_config = clean_generation_config(
                    generator.generation_config, tokenizer, chat=chat
                )
            vote = SelfConsistency(tokenizer=tokenizer, n=min(chunk, size - start))
            torch.manual_seed(Random(f"{seed} {item.id} {start}").getrandbits(63))
            completions = complete(
                generator,
                tokenizer,
                vote,
                [chat_prompt(task, item) if chat else item.prompt],
                questions=[item.question],
                stop=() if chat else task.stop,
                max_new_tokens=task.max_new_tokens,
                temperature=temperature,
            )
            texts = [x.text for trace in completions.traces or () for x in trace.candidates]
            graded = [task.grade(item, text) for text in texts]
            store.add_samples(item.id, item.question, texts, graded)


def score(store: PoolStore, ids: Sequence[int | str], scorers: Iterable[ScorerSpec]) -> None:
    """Score the samples that have no scores; equal new texts of a problem are read once.

    Args:
        store: the store to add to.
        ids: ids of the problems.
        scorers: the scorers.
    """
    for spec in scorers:
        key, scorer = spec.key, None
        for id in tqdm(ids, desc=f"scoring by {spec.name}", unit="problem", disable=None):
            pool = store.pools[id]
            texts = pool.texts[len(pool.scores.get(key, ())) :]
            if not texts:
                continue
            scorer = scorer or spec.load()
            unique = [*dict.fromkeys(texts)]
            scores = scorer.score([pool.prompt] * len(unique), unique)
            found = {text: x.tolist() for text, x in zip(unique, scores, strict=True)}
            store.add_scores(id, key, [found[text] for text in texts])


def fingerprint(name: str, part: str) -> str:
    """Hash of a model's folder; the name itself for a Hub id.

    Args:
        name: ``tiny``, a folder or a Hub id.
        part: the packaged model that ``tiny`` stands for.
    """
    folder = str(packaged(part)) if name == "tiny" else name
    return folder_fingerprint(folder) or name


def _texts(store: PoolStore, item: Item) -> list[str]:
    return store.pools[item.id].texts if item.id in store.pools else []


def _append(values: list[Any], start: int, more: Sequence[Any]) -> None:
    if start != len(values):
        raise ValueError(f"it starts at {start}, but there are {len(values)}")
    values += more


def _keys(row: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Key of an event: samples, or the scores of one scorer, from an index on."""
    return [(row["id"], row.get("scorer"), row["start"])]
