"""What a decoding run leaves behind: candidates, traces, cost.

Dimension letters used in every docstring of the library:
b prompts, n candidates a prompt, s steps, t tokens, h hidden size, v vocabulary.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One candidate for the next step, as a step-wise search saw it.

    Args:
        text: the step, without its separator.
        score: what the scorer said of this step; ``None`` where nothing was scored.
        total: the trajectory's score with this step; ``None`` where nothing was scored.
        parent: index of the step that it continues among those of the round before; ``None`` in
            the first round.
        kept: whether the search went on with it.
        finished: whether it ended the solution.
        tokens: number of tokens sampled for it.
        rationale: what a rationale model wrote before it; ``None`` if none was asked.
        ahead: what the generator went on to say and ``total`` was judged by; ``None`` if nobody
            looked.

    Example:
        >>> from reason_decode import Step
        >>> Step("1 + 2 = 3", 0.9, 0.9, parent=None, kept=True, finished=False, tokens=6).kept
        True
    """

    text: str
    score: float | None
    total: float | None
    parent: int | None
    kept: bool
    finished: bool
    tokens: int
    rationale: str | None = None
    ahead: str | None = None


@dataclass(frozen=True)
class Candidate:
    """One whole solution of a prompt.

    Args:
        text: the continuation of the prompt, special tokens removed.
        steps: the text, split into steps.
        scores: one number a step (process reward) or one in all (outcome reward); empty if
            unscored.
        total: the number that the strategy ranked by; ``None`` if unscored.
        finished: ended by itself (end of sequence), not by the token budget.
        tokens: number of tokens sampled for it.
        answer: the final answer read from the text; ``None`` if none was looked for or found.

    Example:
        >>> from reason_decode import Candidate
        >>> Candidate("1 + 2 = 3", steps=("1 + 2 = 3",), scores=(0.9,), total=0.9).total
        0.9
    """

    text: str
    steps: tuple[str, ...]
    scores: tuple[float, ...] = ()
    total: float | None = None
    finished: bool = True
    tokens: int = 0
    answer: str | None = None


@dataclass(frozen=True)
class Trace:
    """What happened for one prompt: every candidate, every round of a search, the choice.

    Args:
        prompt: the prompt's text.
        strategy: the strategy's class name.
        candidates: the whole solutions that were compared.
        chosen: indices into ``candidates``, the best first.
        rounds: for step-wise search, the candidates of each round in order; else empty.
        votes: for voting strategies, answer -> weight; else empty.

    Raises:
        ValueError: a step continues none of the round before.

    Example:
        >>> import json
        >>> from reason_decode import Candidate, Trace
        >>> trace = Trace("1 + 2 =", "BestOfN", (Candidate("3", ("3",)),), chosen=(0,))
        >>> Trace.from_dict(json.loads(json.dumps(trace.to_dict()))) == trace
        True
    """

    prompt: str
    strategy: str
    candidates: tuple[Candidate, ...]
    chosen: tuple[int, ...]
    rounds: tuple[tuple[Step, ...], ...] = ()
    votes: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for k, (before, steps) in enumerate(zip(((), *self.rounds), self.rounds, strict=False)):
            for step in steps:
                if step.parent is None if k else step.parent is not None:
                    raise ValueError(
                        f"got parent={step.parent} in round {k}; it is None in round 0 alone"
                    )
                if step.parent is not None and not 0 <= step.parent < len(before):
                    raise ValueError(
                        f"got parent={step.parent} in round {k}; the one before has "
                        f"{len(before)} steps"
                    )

    @property
    def best(self) -> Candidate:
        """The candidate that the strategy returned first."""
        return self.candidates[self.chosen[0]]

    def to_dict(self) -> dict[str, Any]:
        """The trace as plain lists, dicts, numbers and strings, ready for ``json.dumps``."""
        return asdict(self)

    def _repr_html_(self) -> str:
        """The trace's page in a frame, which is what a notebook shows of it."""
        # A room above this one, which only a notebook that shows a trace has need of.
        from reason_decode.viewer import inline

        return inline(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Trace":
        """The trace of which ``to_dict`` made this, read back from JSON perhaps.

        Raises:
            TypeError: fields are missing, or there are others.
        """
        fields = dict(saved)
        fields["candidates"] = tuple(
            Candidate(**{**c, "steps": tuple(c["steps"]), "scores": tuple(c["scores"])})
            for c in saved["candidates"]
        )
        fields["chosen"] = tuple(saved["chosen"])
        fields["rounds"] = tuple(tuple(Step(**step) for step in steps) for steps in saved["rounds"])
        return cls(**fields)


@dataclass(frozen=True)
class Cost:
    """Tokens through a forward pass, by role; costs add with ``+``.

    Args:
        prefill: prompt tokens read by the generator.
        decode: sampled tokens fed back to the generator.
        sampled: tokens sampled (each candidate's last one is sampled but never fed back).
        scorer: tokens read by the scorer.

    Example:
        >>> from reason_decode import Cost
        >>> (Cost(prefill=11, sampled=60) + Cost(scorer=68)).to_dict()["scorer"]
        {'read': 68}
    """

    prefill: int = 0
    decode: int = 0
    sampled: int = 0
    scorer: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            self.prefill + other.prefill,
            self.decode + other.decode,
            self.sampled + other.sampled,
            self.scorer + other.scorer,
        )

    def to_dict(self) -> dict[str, dict[str, int]]:
        """``{"generator": {"prefill", "decode", "sampled"}, "scorer": {"read"}}``, in tokens."""
        return {
            "generator": {
                "prefill": self.prefill,
                "decode": self.decode,
                "sampled": self.sampled,
            },
            "scorer": {"read": self.scorer},
        }
