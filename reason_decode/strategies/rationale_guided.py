"""RATIONALYST: rationales that a model writes while decoding guide each step."""

from dataclasses import KW_ONLY, dataclass
from typing import Literal

from torch import LongTensor
from transformers import PreTrainedTokenizerBase

from reason_decode.core.records import Cost, Trace
from reason_decode.generation.engine import Generation
from reason_decode.scorers.rationale import RationaleScorer
from reason_decode.strategies.base import Strategy, check_caps, check_parts, check_positive
from reason_decode.strategies.budget import check_budget
from reason_decode.strategies.step_search import StepSearch, search


@dataclass(frozen=True, eq=False)
class RationaleGuided(Strategy):
    r"""Before each step a rationale is written; of n sampled steps the likeliest under it is kept.

    ``argmax_i mean_t log p(step_i[t] | trajectory, rationale, step_i[<t])``, or what else the
    scorer makes of it (a discount, the difference to the likelihood without the rationale); of
    equal ones the step sampled first wins. With ``supervision="explicit"`` the generator reads the
    rationale too, between its tags, before it samples; it stays in the generator's context for
    the steps to come, but is no part of the sequences returned. With n=1, implicit, the tokens are
    those of plain ``generate``.

    Args:
        rationalyst: writes the rationales and scores steps by them.
        tokenizer: the generator's.
        n: steps sampled a round.
        supervision: "implicit" or "explicit".
        max_steps: at most this many rounds; ``None`` leaves it to the token budget.
        max_tokens: at most so many are sampled of a prompt, over all its candidates; rationales do
            not count. ``None``: no cap.

    Raises:
        ValueError: an argument is not allowed; at the call, what cannot be done there.

    Source: Jiang et al. 2024, 2410.01044, section 3.3.

    Example:
        >>> from reason_decode import RationaleGuided, tiny
        >>> t = tiny.load()
        >>> guided = RationaleGuided(t.rationalyst, tokenizer=t.tokenizer, n=2, max_steps=2)
        >>> inputs = t.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
        >>> how = {"do_sample": True, "max_new_tokens": 40, "return_dict_in_generate": True}
        >>> out = t.model.generate(**inputs, **how, custom_generate=guided)
        >>> [type(step.rationale).__name__ for step in out.traces[0].rounds[0]][:1]
        ['str']
    """

    rationalyst: RationaleScorer
    _: KW_ONLY
    tokenizer: PreTrainedTokenizerBase
    n: int = 3
    supervision: Literal["implicit", "explicit"] = "implicit"
    max_steps: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        check_parts(self, rationalyst=self.rationalyst)
        if not hasattr(self.rationalyst, "writer"):
            raise ValueError(
                f"got rationalyst={type(self.rationalyst).__name__}, which writes no rationales; "
                "pass a RationaleScorer, or this scorer to StepSearch"
            )
        check_positive(n=self.n)
        check_caps(max_steps=self.max_steps, max_tokens=self.max_tokens)
        check_budget(self.max_tokens, self.n)
        if self.supervision not in ("implicit", "explicit"):
            raise ValueError(
                f"got supervision={self.supervision!r}; allowed are 'implicit' (rationales score "
                "the steps) and 'explicit' (the generator reads them too)"
            )

    def run(self, generation: Generation) -> tuple[LongTensor, list[Trace], Cost]:
        """Write, sample, score, keep; round after round."""
        steps = StepSearch(
            self.rationalyst,
            tokenizer=self.tokenizer,
            n=self.n,
            max_steps=self.max_steps,
            max_tokens=self.max_tokens,
        )
        return search(steps, generation, explicit=self.supervision == "explicit")
