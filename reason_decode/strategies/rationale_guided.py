"""RATIONALYST: rationales that a model writes while decoding guide each step."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from torch import LongTensor, Tensor

from reason_decode.core.options import Supervision
from reason_decode.core.solutions import Cost, Trace
from reason_decode.generation.interface import Batch, Generation
from reason_decode.scorers.rationale import RationaleScorer
from reason_decode.strategies.base import Strategy
from reason_decode.strategies.step_search import SearchLoop, StepSearch


@dataclass(frozen=True, eq=False)
class RationaleGuided(Strategy):
    r"""Write a rationale before each step, sample n steps, keep the likeliest under the rationale.

    ``argmax_i mean_t log p(step_i[t] | trajectory, rationale, step_i[<t])``; the scorer's settings
    can change this score (a discount, the difference to the likelihood without the rationale). Of
    equal scores the step sampled first wins. With ``supervision="explicit"`` the generator reads
    the rationale too, between its tags, before it samples the step. The rationale then stays in the
    generator's context, but is not part of the returned sequences. With n=1 and "implicit" the
    tokens are those of plain ``generate``.

    Args:
        rationalyst: writes the rationales and scores steps by them.
        tokenizer: the generator's tokenizer.
        streamer: receives each step once it is kept, for one prompt.
        n: steps sampled per round.
        supervision: "implicit": rationales score the steps; "explicit": the generator reads them
            too.
        max_steps: maximum number of rounds; ``None``: no limit but that of tokens.
        max_tokens: maximum number of tokens sampled per prompt, over all its candidates and without
            the rationales; ``None``: no limit.

    Raises:
        ValueError: an argument is not allowed; when called: ``generate`` is asked for something
            that the strategy cannot do.

    Source: Jiang et al. 2024, 2410.01044, section 3.3.

    Examples:
        >>> from reason_decode import RationaleGuided, tiny
        >>> t = tiny.load()
        >>> guided = RationaleGuided(t.rationalyst, tokenizer=t.tokenizer, n=2, max_steps=2)
        >>> inputs = t.tokenizer(["Make 36 from 4 5 6 10.\n"], return_tensors="pt")
        >>> sampling = {"do_sample": True, "max_new_tokens": 40, "return_dict_in_generate": True}
        >>> out = t.model.generate(**inputs, **sampling, custom_generate=guided)
        >>> [type(step.rationale).__name__ for step in out.traces[0].rounds[0]][:1]
        ['str']
    """

    rationalyst: RationaleScorer
    _: KW_ONLY
    n: int = 3
    supervision: Supervision = "implicit"
    max_steps: int | None = None
    max_tokens: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.rationalyst, RationaleScorer):
            raise ValueError(
                f"got rationalyst={self.rationalyst!r:.80}, which writes no rationales; pass a "
                "RationaleScorer, or pass this scorer to StepSearch"
            )
        self._search()
        if self.supervision not in ("implicit", "explicit"):
            raise ValueError(
                f"got supervision={self.supervision!r}; allowed are 'implicit' (rationales score "
                "the steps) and 'explicit' (the generator reads them too)"
            )

    def run(
        self, generation: Generation, prompts: Sequence[str]
    ) -> tuple[LongTensor, list[Trace], Cost]:
        """Search step by step with the rationale scorer; greedily, with one kept trajectory."""
        loop = _ExplicitLoop if self.supervision == "explicit" else SearchLoop
        return loop(self._search(), generation, prompts).run()

    def _search(self) -> StepSearch:
        return StepSearch(
            self.rationalyst,
            tokenizer=self.tokenizer,
            n=self.n,
            max_steps=self.max_steps,
            max_tokens=self.max_tokens,
            batch_rows=self.batch_rows,
            thinking_tags=self.thinking_tags,
        )


class _ExplicitLoop(SearchLoop):
    """The rounds of a search whose generator reads what the scorer's session writes before each."""

    def rows(self, first: bool) -> Batch:
        """The batch of a round, each row with the text of ``Session.context_to_append``."""
        prompts = self.generation.prefill(branchable=True, croppable=True) if first else None
        self.written = self.session.before_round()
        branches = self.branches() if prompts is None else self.generation.as_branches(prompts)
        contexts = [self._encode(text or "") for text in self.session.context_to_append()]
        return self.generation.resume(self.generation.append_context(branches, contexts))

    def _encode(self, text: str) -> Tensor:
        ids = self.strategy.tokenizer(text, add_special_tokens=False)["input_ids"]
        return torch.tensor(ids, dtype=torch.long, device=self.generation.prompt_ids.device)
