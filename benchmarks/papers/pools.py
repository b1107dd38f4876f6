"""Pools of samples with their scores, in a file that only grows; curves are made of them.

Each line of the file is one event: samples of a problem, or scores of a problem's samples by one
scorer. A run that was killed resumes after the last whole line; a larger pool or another scorer
adds lines.
"""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, Self

import torch
from tqdm import tqdm

from reason_decode import OutcomeRewardModel, ProcessRewardModel, SelfConsistency, tiny
from reason_decode.evaluation.complete import complete
from reason_decode.models.loading import load_model
from reason_decode.runs.resumable import ResumableRun
from reason_decode.runs.settings import folder_fingerprint
from reason_decode.scorers.loading import load_scorer
from reason_decode.tasks import Item, Task


@dataclass
class Pool:
    """One problem's samples so far; ``scores`` has a list of step scores a sample."""

    prompt: str
    texts: list[str] = field(default_factory=list)
    correct: list[bool] = field(default_factory=list)
    scores: dict[str, list[list[float]]] = field(default_factory=dict)


class Judge(NamedTuple):
    """A scorer by its name: ``kind`` is ``PRM`` or ``ORM``."""

    kind: str
    name: str
    neutral: str | None = None

    @property
    def key(self) -> str:
        """What its scores are filed under; other weights of the same name have another key."""
        key = f"{self.kind} {self.name} {fingerprint(self.name, self.kind.lower())}"
        return (
            f"{key} of whole solutions" if self.neutral is None else f"{key} neutral {self.neutral}"
        )

    def load(self) -> Any:
        """The scorer."""
        folder = tiny.WEIGHTS / self.kind.lower() if self.name == "tiny" else self.name
        if self.kind == "ORM":
            return OutcomeRewardModel.from_pretrained(folder)
        if self.neutral is None:
            return load_scorer(self.name, whole_solutions=True)
        return ProcessRewardModel.from_pretrained(folder, neutral=self.neutral)


class PoolStore(AbstractContextManager["PoolStore"]):
    """Pools of samples with their scores, by the problem's id, in a file that only grows.

    Args:
        path: the file; made if there is none. It is locked while the store is entered.
        source: everything that the samples depend on; a file of another source is refused.

    Raises:
        ValueError: on entering, the file holds samples of another source, or a line does not
            follow from those before it.
    """

    def __init__(self, path: Path, source: dict[str, Any]) -> None:
        self.pools: dict[int | str, Pool] = {}
        self.run = ResumableRun(path, source, _keys, 0, in_place=True)

    def __enter__(self) -> Self:
        self.run.__enter__()
        for number, row in enumerate(self.run.rows(), start=1):
            try:
                self._take(row)
            except (KeyError, ValueError) as error:
                self.run.__exit__(None, None, None)
                raise ValueError(
                    f"line {number} of {self.run.output} does not follow from those before it: "
                    f"{error!r}; name another --store"
                ) from error
        return self

    def __exit__(self, kind: object, value: object, trace: object) -> None:
        self.run.__exit__(kind, value, trace)

    def add_samples(self, id: int | str, prompt: str, texts: Any, correct: Any) -> None:
        """Append samples to a problem's pool."""
        start = len(self.pools[id].texts) if id in self.pools else 0
        samples = {"start": start, "samples": list(texts), "correct": list(correct)}
        self._record({"id": id, "prompt": prompt, **samples})

    def add_scores(self, id: int | str, key: str, scores: Any) -> None:
        """Append scores of the first samples that this scorer has not scored."""
        start = len(self.pools[id].scores.get(key, ()))
        self._record({"id": id, "start": start, "scorer": key, "scores": scores})

    def _record(self, row: dict[str, Any]) -> None:
        self.run.append(row)
        self._take(row)

    def _take(self, row: Mapping[str, Any]) -> None:
        if "samples" in row:
            pool = self.pools.setdefault(row["id"], Pool(row["prompt"]))
            _append(pool.texts, row["start"], row["samples"])
            _append(pool.correct, row["start"], row["correct"])
        else:
            scores = self.pools[row["id"]].scores.setdefault(row["scorer"], [])
            _append(scores, row["start"], row["scores"])


def sample(
    store: PoolStore, task: Task, items: Sequence[Item], *, size: int, chunk: int, **how: Any
) -> None:
    """Fill each item's pool up to ``size``, at most ``chunk`` samples at a time.

    Each chunk has a random state of its own, so that a run which was stopped goes on as it would
    have.

    Args:
        store: is added to.
        task: grades.
        items: the problems.
        size: samples a problem.
        chunk: samples side by side.
        how: ``model`` (tiny, a folder or a Hub id), ``temperature`` and ``seed``.
    """
    model: Any = None
    words: Any = None
    for item in tqdm(items, desc="sampling", unit="problem", disable=None):
        while (start := len(_texts(store, item))) < size:
            if model is None:
                model, words = load_model(how["model"])
            vote = SelfConsistency(tokenizer=words, n=min(chunk, size - start))
            torch.manual_seed(Random(f"{how['seed']} {item.id} {start}").getrandbits(63))
            done = complete(
                model,
                words,
                vote,
                [item.prompt],
                max_new_tokens=task.max_new_tokens,
                temperature=how["temperature"],
            )
            texts = [c.text for trace in done.traces or () for c in trace.candidates]
            graded = [task.grade(item, text) for text in texts]
            store.add_samples(item.id, item.prompt, texts, graded)


def score(store: PoolStore, ids: Sequence[int | str], judges: Iterable[Judge]) -> None:
    """Score what is not scored yet; equal texts of a problem that come together are read once.

    Args:
        store: is added to.
        ids: of the problems.
        judges: the scorers.
    """
    for judge in judges:
        key, scorer = judge.key, None
        for id in tqdm(ids, desc=f"scoring by {judge.name}", unit="problem", disable=None):
            pool = store.pools[id]
            texts = pool.texts[len(pool.scores.get(key, ())) :]
            if not texts:
                continue
            scorer = scorer or judge.load()
            unique = [*dict.fromkeys(texts)]
            read = scorer.score([pool.prompt] * len(unique), unique)
            found = {text: x.tolist() for text, x in zip(unique, read, strict=True)}
            store.add_scores(id, key, [found[text] for text in texts])


def fingerprint(name: str, part: str) -> str:
    """Hash of a model's folder, or of tiny's ``part``; the name of any other model."""
    folder = str(tiny.WEIGHTS / part) if name == "tiny" else name
    return folder_fingerprint(folder) or name


def _texts(store: PoolStore, item: Item) -> list[str]:
    return store.pools[item.id].texts if item.id in store.pools else []


def _append(values: list[Any], start: int, more: Sequence[Any]) -> None:
    if start != len(values):
        raise ValueError(f"it begins at {start}, there are {len(values)}")
    values += more


def _keys(row: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """Key of an event: samples, or the scores of one scorer, from an index on."""
    return [(row["id"], row.get("scorer"), row["start"])]
