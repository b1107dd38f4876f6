"""The formats of published process reward models: their texts, and where scores are read.

Each is a class of ``ProcessRewardModel``, which encodes a solution as token ids, with one
token at which each step is scored, and turns the features there into P(correct). Each names its
source.
"""

from reason_decode.scorers.prm_formats.chat import QwenMath, RLHFlow
from reason_decode.scorers.prm_formats.detection import (
    CONFIG_KEY,
    OutcomeCheckpoint,
    detect_format,
    format_of_model,
    saved_options,
)
from reason_decode.scorers.prm_formats.generative import Generative, Rating
from reason_decode.scorers.prm_formats.implicit import Implicit
from reason_decode.scorers.prm_formats.plain_text import ReasonEval, Skywork
from reason_decode.scorers.prm_formats.reasoning import GenPRM, ThinkPRM
from reason_decode.scorers.prm_formats.step_tag import MathPSA, MathShepherd, StepTag, VersaPRM
from reason_decode.scorers.process import ProcessRewardModel, TokenClassification

__all__ = [
    "CONFIG_KEY",
    "FORMATS",
    "GenPRM",
    "Generative",
    "Implicit",
    "MathPSA",
    "MathShepherd",
    "OutcomeCheckpoint",
    "QwenMath",
    "RLHFlow",
    "Rating",
    "ReasonEval",
    "Skywork",
    "StepTag",
    "ThinkPRM",
    "TokenClassification",
    "VersaPRM",
    "detect_format",
    "format_by_name",
    "format_of_model",
    "saved_options",
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
        VersaPRM,
        MathPSA,
        StepTag,
        Implicit,
        Generative,
        Rating,
        GenPRM,
        ThinkPRM,
    )
}
"""The name of each format -> its class."""


def format_by_name(name: str) -> type[ProcessRewardModel]:
    """The format class of a name in ``FORMATS``.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"got format={name!r}; allowed are {', '.join(FORMATS)}")
    return FORMATS[name]
