"""Options of the model that generates: how it is loaded, prompted, and sampled from."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

__all__ = ["ABOVE_0", "DType", "ModelOptions", "PromptOptions", "SamplingOptions"]

ABOVE_0 = "sampling needs a temperature above 0 (strategy greedy samples nothing)"
DType = Literal["auto", "float32", "bfloat16", "float16"]


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Options of loading the generator.

    Args:
        dtype: number format of the weights; ``auto``: that of the checkpoint, but float32 on a CPU
            where a measurement finds it faster.
        device_map: where the layers go, by accelerate: ``auto``, ``balanced``, ``cpu``, or a
            device such as ``cuda:1`` (default: all on the accelerator that there is).
        quantization: quantize the weights while they are loaded: ``bnb-4bit`` or ``bnb-8bit``
            (bitsandbytes), ``torchao-int8`` or ``torchao-int4``, or a YAML or JSON file with
            ``quant_method`` and its arguments, as transformers writes them into config.json.
        gguf_file: name of a GGUF file in the model's folder or repository, which holds weights
            and tokenizer.

    Raises:
        ValueError: options do not go together.
    """

    dtype: DType = "auto"
    device_map: str | None = None
    quantization: str | None = None
    gguf_file: str | None = None

    def __post_init__(self) -> None:
        if self.dtype not in get_args(DType):
            raise ValueError(f"got dtype={self.dtype!r}; need one of {', '.join(get_args(DType))}")
        if self.quantization is not None and self.gguf_file is not None:
            raise ValueError(
                f"got quantization={self.quantization} and gguf_file={self.gguf_file}, whose "
                "weights are quantized already; give one"
            )


@dataclass(frozen=True, kw_only=True)
class PromptOptions:
    """Options of the prompts of the generator.

    Args:
        chat: render prompts by the model's chat template, where its tokenizer has one; a base model
            that has one all the same wants ``--no-chat``.
        system: text of a system turn, put before conversations that have none.
        chat_template_kwargs: further arguments of the chat template, such as
            ``{"enable_thinking": false}``.

    Raises:
        ValueError: options do not go together.
    """

    chat: bool = True
    system: str | None = None
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not isinstance(self.chat_template_kwargs, Mapping):
            raise ValueError(
                f"got chat_template_kwargs={self.chat_template_kwargs!r:.80}; need an object, such "
                'as {"enable_thinking": false}'
            )
        for name in ("system", "chat_template_kwargs"):
            if not self.chat and getattr(self, name):
                raise ValueError(f"got {name} with chat=False, which has no template; give one")


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """Options of sampling; where one is not given, what the checkpoint's generation config says.

    Args:
        temperature: sampling temperature; greedy ignores it (default: 1).
        top_p: sample from the fewest tokens whose probabilities sum to this (default: 1, all).
        top_k: sample from this number of most likely tokens (default: 0, all).
        min_p: sample from tokens that are at least this share as likely as the likeliest.
        repetition_penalty: divide the logits of tokens that have occurred by this (default: 1).
        generation: YAML or JSON file with more options of transformers' generation config, such as
            a checkpoint's generation_config.json; options on the command line override it.

    Raises:
        ValueError: a value is out of range.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    generation: str | None = None

    def __post_init__(self) -> None:
        # Comparisons of this form refuse NaN, too.
        for name, is_allowed, allowed in (
            ("temperature", lambda x: 0 <= x < math.inf, "a number of at least 0"),
            ("top_p", lambda x: 0 < x <= 1, "a number above 0, at most 1"),
            ("top_k", lambda x: x >= 0, "0 (all tokens) or more"),
            ("min_p", lambda x: 0 <= x <= 1, "a number from 0 to 1"),
            ("repetition_penalty", lambda x: 0 < x < math.inf, "a number above 0; 1 is none"),
        ):
            value = getattr(self, name)
            if value is not None and not is_allowed(value):
                raise ValueError(f"got {name}={value}; need {allowed}")

    @property
    def given(self) -> dict[str, Any]:
        """The options of ``generate`` that were given by themselves."""
        names = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
        values = {name: getattr(self, name) for name in names}
        return {name: value for name, value in values.items() if value is not None}
