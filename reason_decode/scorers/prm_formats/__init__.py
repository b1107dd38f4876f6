"""The formats of published process reward models: their texts, and where scores are read.

Each is a class of ``ProcessRewardModel``, which encodes a solution as token ids, with one
token at which each step is scored, and turns the features there into P(correct). Each names its
source.
"""

from pathlib import Path
from typing import Any

from reason_decode.scorers.prm_formats.chat import Generative, QwenMath, RLHFlow
from reason_decode.scorers.prm_formats.plain_text import MathShepherd, ReasonEval, Skywork
from reason_decode.scorers.process import ProcessRewardModel, TokenClassification

__all__ = [
    "FORMATS",
    "Generative",
    "MathShepherd",
    "QwenMath",
    "RLHFlow",
    "ReasonEval",
    "Skywork",
    "TokenClassification",
    "detect_format",
    "format_by_name",
]

FORMATS: dict[str, type[ProcessRewardModel]] = {
    kind.format: kind
    for kind in (
        TokenClassification,
        MathShepherd,
        RLHFlow,
        QwenMath,
        Skywork,
        ReasonEval,
        Generative,
    )
}
"""The name of each format -> its class."""
# Published causal language models, whose configs do not say what they were trained for.
_BY_NAME = (
    ("shepherd", "math-shepherd"),
    ("skywork", "skywork"),
    ("rlhflow", "rlhflow"),
    ("-prm-deepseek-data", "rlhflow"),
    ("-prm-mistral-data", "rlhflow"),
)


def format_by_name(name: str) -> type[ProcessRewardModel]:
    """The format class of a name in ``FORMATS``.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"got format={name!r}; allowed are {', '.join(FORMATS)}")
    return FORMATS[name]


def detect_format(path_or_id: str | Path, config: Any) -> str:
    """The name of a checkpoint's format: by its architecture, else by the checkpoint's name.

    Args:
        path_or_id: the checkpoint's folder or Hub id.
        config: its config.

    Raises:
        ValueError: neither tells the format.
    """
    kinds = ", ".join(config.architectures or ["an unnamed architecture"])
    if "TokenClassification" in kinds:
        return "token-classification"
    if "ForProcessRewardModel" in kinds:
        return "qwen-math"
    if "ReasonEval" in kinds:
        return "reasoneval"
    name = str(path_or_id).lower()
    for part, format_name in _BY_NAME:
        if part in name:
            return format_name
    raise ValueError(
        f"got {kinds} in {path_or_id}, which does not say how it reads steps; pass format= one of "
        f"{', '.join(FORMATS)}"
    )
