"""The output of ``generate`` with the traces and the cost of a strategy."""

from dataclasses import dataclass

from transformers.generation.utils import GenerateDecoderOnlyOutput

from reason_decode.core.solutions import Cost, Trace


@dataclass
class ReasoningOutput(GenerateDecoderOnlyOutput):
    r"""A ``GenerateDecoderOnlyOutput`` with a trace of how each sequence was chosen, and the cost.

    Attributes:
        sequences: (b, t) int64, prompt included, padded on the right.
        traces: one ``Trace`` for each prompt.
        cost: tokens through forward passes for the whole batch.

    Examples:
        >>> from reason_decode import BestOfN, ReasoningOutput, tiny
        >>> t = tiny.load()
        >>> inputs = t.tokenizer(["1 + 2 =\n"], return_tensors="pt")
        >>> one = BestOfN(t.prm, tokenizer=t.tokenizer, n=1)
        >>> out = t.model.generate(**inputs, custom_generate=one, return_dict_in_generate=True)
        >>> isinstance(out, ReasoningOutput), len(out.traces), out.cost.prefill
        (True, 1, 6)
    """

    traces: tuple[Trace, ...] | None = None
    cost: Cost | None = None
