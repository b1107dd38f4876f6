"""Records of a decoding run: steps, candidates, traces, and cost in tokens.

Dimension letters used in every docstring of the library:
b prompts, n candidates per prompt, s steps, t tokens, h hidden size, v vocabulary.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Step:
    """One candidate for the next step in one round of a step search.

    Args:
        text: the step, without its separator.
        score: the scorer's score of this step; ``None`` where nothing was scored.
        total: the score of the trajectory that ends with this step; ``None`` where nothing was
            scored.
        parent: index, in the round before, of the step that this one continues; ``None`` in the
            first round.
        kept: whether the search continued with it.
        finished: whether it ended the solution.
        tokens: number of tokens sampled for it.
        rationale: text that a rationale model wrote before it; ``None`` if none was asked.
        lookahead_text: greedy continuation that ``total`` was scored by; ``None`` without
            lookahead.

    Examples:
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
    lookahead_text: str | None = None


@dataclass(frozen=True)
class Candidate:
    """One whole solution of a prompt.

    Args:
        text: the continuation of the prompt, without special tokens.
        steps: the text, split into steps.
        scores: one number per step (process reward) or one for the solution (outcome reward); empty
            if unscored.
        total: the number that the strategy ranked by; ``None`` if unscored.
        finished: whether it ended by itself (end of sequence) rather than by the token budget.
        tokens: number of tokens sampled for it.
        answer: the final answer read from the text; ``None`` if none was looked for or found.

    Examples:
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
    """Record of decoding one prompt: the candidates, the rounds of a search, and the choice.

    Args:
        prompt: the prompt's text.
        strategy: the strategy's class name.
        candidates: the whole solutions that were compared.
        chosen: indices into ``candidates``, the best first.
        rounds: the candidate steps of each round of a step search; empty for other strategies.
        votes: answer -> weight for voting strategies; empty for others.

    Raises:
        ValueError: the ``parent`` of a step is not an index into the round before.

    Examples:
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
                        f"got parent={step.parent} in round {k}; the round before has "
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
        """The trace as an interactive page in a frame, for notebooks."""
        # The viewer is a higher room; only a notebook that shows a trace needs it.
        from reason_decode.viewer import render_frame

        return render_frame(self)

    @classmethod
    def from_dict(cls, saved: Mapping[str, Any]) -> "Trace":
        """The trace that ``to_dict`` turned into ``saved``, possibly by way of JSON.

        Raises:
            TypeError: fields are missing or unknown.
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
        sampled: tokens sampled (the last token of each candidate is sampled but never fed back).
        scorer: tokens read by the scorer.

    Examples:
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
