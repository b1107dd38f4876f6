"""Process reward models that answer at a tag after each step, such as Math-Shepherd."""

import re
from collections.abc import Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.models.inputs import EncodedSolution
from reason_decode.scorers.prm_formats.verdict import VerdictFormat

__all__ = ["MathPSA", "MathShepherd", "StepTag", "VersaPRM"]


class StepTag(VerdictFormat):
    r"""``prompt opening step tag joiner step tag ...``; P(good) against P(bad) at each tag.

    The text is encoded as a whole. The logits are those at the tag's last token itself, where
    training had put the verdict in the tag's place. The letters of a tag may also be in a text: a
    step is scored at the tag after it.

    Args:
        model: a causal language model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``.
        tag: the text after each step, with the white space before it.
        verdicts: texts of the tokens that mean right and wrong.
        opening: the text between prompt and first step.
        joiner: the text between a tag and the next step.
        numbered: whether a step that does not begin with "Step k:" is given it.
        options: see ``ProcessRewardModel``.

    Each of these is, where it is ``None``, the format's own.

    Source: Wang et al. 2023, 2312.08935; openreasoner/openr, prm/infer_fns.py.
    """

    format = "step-tag"
    option_names = (
        *VerdictFormat.option_names,
        *("tag", "verdicts", "opening", "joiner", "numbered"),
    )
    tag, opening, joiner, numbered = " ки", " ", "\n", True

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        tag: str | None = None,
        verdicts: Sequence[str] | None = None,
        opening: str | None = None,
        joiner: str | None = None,
        numbered: bool | None = None,
        **options: Any,
    ) -> None:
        given = {"tag": tag, "opening": opening, "joiner": joiner, "numbered": numbered}
        self.tag = self.tag if tag is None else tag
        self.opening = self.opening if opening is None else opening
        self.joiner = self.joiner if joiner is None else joiner
        self.numbered = self.numbered if numbered is None else numbered
        self.verdicts = self.verdicts if verdicts is None else tuple(verdicts)
        if len(self.verdicts) != 2 or not self.tag.strip(" "):
            raise ValueError(
                f"got tag={self.tag!r} and verdicts={self.verdicts!r}; need a tag that is not "
                "blank and the texts of two tokens, the good one first, such as ('+', '-')"
            )
        self.required_tokens = (self.tag.strip(" "), *self.verdicts)
        super().__init__(model, tokenizer, **options)
        self.options |= {name: x for name, x in given.items() if x is not None}
        if verdicts is not None:
            self.options["verdicts"] = list(verdicts)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The whole text encoded at once, up to the last tag."""
        text, ends = prompt, []
        for k, step in enumerate(steps, 1):
            step = step.strip()
            if self.numbered and not re.match(r"Step \d+:", step):
                step = f"Step {k}: {step}"
            text += f"{self.opening if k == 1 else self.joiner}{step}{self.tag}"
            ends.append(len(text))
        return self.cached_tokenizer.encode_to_ends(text, ends)


class MathShepherd(StepTag):
    r"""``"question Step 1: ... ки\nStep 2: ... ки"``; ``+`` against ``-``.

    Source: Wang et al. 2023, 2312.08935; peiyi9979/math-shepherd-mistral-7b-prm as openr's
    prm/infer_fns.py reads it.
    """

    format = "math-shepherd"


class VersaPRM(StepTag):
    r"""``"question \n\nstep \n\n\n\nstep \n\n\n\n"``; ``+`` against ``-`` at the newlines.

    Source: Zeng et al. 2025, 2502.06737; UW-Madison-Lee-Lab/VersaPRM and Llama-PRM800K.
    """

    format = "versaprm"
    separator = "\n\n"
    tag, opening, joiner, numbered = " \n\n\n\n", " \n\n", "", False


class MathPSA(StepTag):
    r"""``"question step \n\n\n\n\n step \n\n\n\n\n"``; `` +`` against `` -`` at the newlines.

    Source: Wang et al. 2024, 2410.09671; openreasoner/Math-psa as openr's prm/infer_fns.py reads
    it.
    """

    format = "math-psa"
    separator = "\n\n"
    verdicts = (" +", " -")
    tag, opening, joiner, numbered = " \n\n\n\n\n", " ", " ", True
