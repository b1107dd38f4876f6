"""Solutions and their steps: checks of what is passed, and the records of decoding.

Dimension letters used in every docstring of the library:
b prompts, n candidates per prompt, s steps, t tokens, h hidden size, v vocabulary.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from reason_decode.core.splitting import StepSplitter


def to_steps(
    solutions: Sequence[str | Sequence[str]], splitter: StepSplitter, per_step: bool = True
) -> list[list[str]]:
    """The steps of each solution: text is split, lists of steps are taken as they are.

    Args:
        solutions: texts or lists of steps.
        splitter: splits the texts.
        per_step: each step gets a score; if not, all pieces of a text are returned, which make up
            the text as it was generated, blank lines included.

    Raises:
        ValueError: a step of a list is blank, or something is no text or holds half a character.
    """
    listed: list[list[str]] = []
    for i, solution in enumerate(solutions):
        if isinstance(solution, str):
            check_text(solution, f"solution {i}")
            listed.append(splitter.split(solution) if per_step else splitter.pieces(solution))
            continue
        if not isinstance(solution, Sequence):
            raise ValueError(f"got {solution!r:.60} as solution {i}; need text, or a list of steps")
        for k, step in enumerate(solution):
            check_text(step, f"step {k} of solution {i}")
        blank = [k for k, step in enumerate(solution) if not step.strip()]
        if blank:
            raise ValueError(
                f"got a blank step (number {blank[0]}) in solution {i}; every step needs text. "
                "Drop blank steps, or pass the solution as one string and let it be split"
            )
        listed.append(list(solution))
    return listed


def check_pairs(prompts: Sequence[str], solutions: Sequence[object]) -> None:
    """Raise unless both are lists of the same length and every prompt is text.

    Args:
        prompts: the prompt of each solution.
        solutions: the solutions.

    Raises:
        ValueError: the lengths differ, one of the two is a text, or a prompt is no text.
    """
    # A text is a sequence of texts too: one solution would become one for each letter.
    for name, given in (("prompts", prompts), ("solutions", solutions)):
        if isinstance(given, str):
            raise ValueError(f"got one text as {name}; pass a list: {name}=[{given[:40]!r}]")
    for k, prompt in enumerate(prompts):
        check_text(prompt, f"prompt {k}")
    if len(prompts) != len(solutions):
        raise ValueError(
            f"got {len(prompts)} prompts for {len(solutions)} solutions; pass one prompt each"
        )


def check_text(text: object, name: str) -> None:
    """Raise unless a tokenizer can read this.

    Args:
        text: what should be text.
        name: its name, for the message.

    Raises:
        ValueError: it is no text, or holds a lone surrogate (half a character), as damaged JSON
            does.
    """
    if not isinstance(text, str):
        raise ValueError(f"got {text!r:.60} as {name}; need text")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"got {name} with half a character ({error}); drop it, or repair it: "
            "text.encode(errors='replace').decode()"
        ) from error


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
        steps: the text, or the part of it that is scored, split into steps.
        scores: one number per step (process reward) or one for the solution (outcome reward); empty
            if unscored.
        total: the number that the strategy ranked by; ``None`` if unscored.
        finished: whether it ended by itself (end of sequence) rather than by the token budget.
        tokens: number of tokens sampled for it.
        answer: the final answer read from the text; ``None`` if none was looked for or found.
        in_thought: whether the prompt opened a thought, so that the text begins inside one.

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
    in_thought: bool = False


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
        messages: the conversation that the prompt ends, as role and content; empty for a text.

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
    messages: tuple[dict[str, str], ...] = ()

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

    @property
    def agreement(self) -> float | None:
        """The winner's share of the weight of all votes; ``None`` where nobody voted."""
        total = sum(self.votes.values())
        # The chosen candidate's answer has the greatest weight, in whichever form it is written.
        return max(self.votes.values()) / total if total > 0 else None

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
        fields["messages"] = tuple(dict(turn) for turn in saved.get("messages", ()))
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
