"""The format of a checkpoint, by its config, its tensors and, last, its published name."""

import re
from pathlib import Path
from typing import Any

from reason_decode.models.heads import head_shapes
from reason_decode.models.wrapped import unwrap_peft

__all__ = ["CONFIG_KEY", "OutcomeCheckpoint", "detect_format", "format_of_model", "saved_options"]

CONFIG_KEY = "reason_decode_prm"
"""Key in the ``config.json`` of models that ``train prm`` wrote: the format and its options."""

# Published causal language models: nothing in their files says what they were trained for.
_BY_NAME = (
    ("shepherd", "math-shepherd"),
    ("eurusprm", "implicit"),
    ("versaprm", "versaprm"),
    ("llama-prm800k", "versaprm"),
    ("math-psa", "math-psa"),
    ("genprm", "genprm"),
    ("thinkprm", "thinkprm"),
    ("rlhflow", "rlhflow"),
    ("-prm-deepseek-data", "rlhflow"),
    ("-prm-mistral-data", "rlhflow"),
)


class OutcomeCheckpoint(ValueError):
    """A checkpoint scores whole solutions, and no steps."""


def saved_options(config: Any) -> dict[str, Any]:
    """The format of a model that this library trained, with its options; else nothing.

    Args:
        config: the checkpoint's config.
    """
    saved = config.to_dict().get(CONFIG_KEY)
    return dict(saved) if isinstance(saved, dict) else {}


def detect_format(path_or_id: str | Path, config: Any) -> str:
    """The name of a checkpoint's format.

    It is read from the config of models that this library trained, else from the architecture and
    the tensors of the reward head; of plain language models from the published name.

    Args:
        path_or_id: the checkpoint's folder or Hub id.
        config: its config.

    Raises:
        OutcomeCheckpoint: the checkpoint is an outcome reward model.
        ValueError: none of them shows the format.
    """
    if "format" in (saved := saved_options(config)):
        return str(saved["format"])
    kinds = ", ".join(config.architectures or ["an unnamed architecture"])
    if "TokenClassification" in kinds:
        return "token-classification"
    if "SequenceClassification" in kinds:
        raise _outcome_error(kinds, path_or_id)
    if (by_tensors := _by_tensors(path_or_id, kinds)) is not None:
        return by_tensors
    name = Path(str(path_or_id)).name.lower()
    if "orm" in re.split("[^a-z]+", name):
        raise _outcome_error(kinds, path_or_id)
    for part, format_name in _BY_NAME:
        if part in str(path_or_id).lower():
            return format_name
    # Imported here: the table of formats imports this module.
    from reason_decode.scorers.prm_formats import FORMATS

    raise ValueError(
        f"got {kinds} in {path_or_id}, which does not say how it reads steps; pass format= one of "
        f"{', '.join(FORMATS)}"
    )


def format_of_model(model: Any) -> str:
    """The name of the format of a model in memory, as far as its class or its config says it.

    Args:
        model: a ``PreTrainedModel``, perhaps in peft's wrapper.

    Raises:
        ValueError: neither shows the format.
    """
    model = unwrap_peft(model)
    if "format" in (saved := saved_options(model.config)):
        return str(saved["format"])
    if "TokenClassification" in type(model).__name__:
        return "token-classification"
    # Imported here: the table of formats imports this module.
    from reason_decode.scorers.prm_formats import FORMATS

    raise ValueError(
        f"got {type(model).__name__}, which does not say how it reads steps; pass format= one of "
        f"{', '.join(FORMATS)}"
    )


def _by_tensors(path_or_id: str | Path, kinds: str) -> str | None:
    """The format that the tensors of a reward head show; ``None`` without such tensors."""
    shapes = head_shapes(path_or_id)
    if any(name.startswith("v_head.") for name in shapes):
        return "skywork"
    if any(name.startswith("score_head.") for name in shapes):
        return "reasoneval"
    if not any(name.startswith("score.") for name in shapes):
        return None
    weights = {name: x for name, x in shapes.items() if name.endswith("weight") and len(x) == 2}
    last = max(weights, default=None)
    if last is None or weights[last][0] != 1 or re.search("Process|PRM|Prm", kinds):
        return "qwen-math"
    raise _outcome_error(kinds, path_or_id)


def _outcome_error(kinds: str, path_or_id: str | Path) -> OutcomeCheckpoint:
    return OutcomeCheckpoint(
        f"got {kinds} in {path_or_id}, which scores whole solutions and no steps; load it by "
        "OutcomeRewardModel.from_pretrained"
    )
