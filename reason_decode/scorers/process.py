"""Process reward models: one probability of being correct for each step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.models.checkpoint import load_config, load_tokenizer
from reason_decode.models.heads import hub_id_or_path
from reason_decode.models.inputs import max_positions
from reason_decode.scorers.base import Scorer, ScoreSpace, Session
from reason_decode.scorers.prm_formats import detect_format, format_by_name

__all__ = ["ProcessRewardModel"]


class ProcessRewardModel(Scorer):
    r"""Scores each step of a solution: P(correct) at the step's end, in [0, 1].

    Args:
        model: the model that the format reads; by default one for token classification.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        format: the layout of its text: ``token-classification``, ``math-shepherd``, ``rlhflow``,
            ``qwen-math``, ``skywork``, ``reasoneval`` or ``generative``; see ``prm_formats``.
        options: ``separator``, which ends a step in a solution (default: the format's);
            ``batch_tokens``, the largest number of tokens in one forward pass, padding included;
            for ``reasoneval``, ``position_shift``; for ``token-classification``, ``neutral``.

    Raises:
        TypeError: the format has no such option.
        ValueError: the model has another head, its vocabulary is smaller than the tokenizer's, or
            there is no such format.

    Examples:
        >>> from reason_decode import ProcessRewardModel, tiny
        >>> prm = ProcessRewardModel.from_pretrained(tiny.WEIGHTS / "prm")
        >>> steps = ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 31 (left: 6 31)"]
        >>> (scores,) = prm.score(["Make 36 from 4 5 6 10.\n"], [steps])
        >>> [round(float(x)) for x in scores]
        [1, 0]
    """

    score_space: ScoreSpace = "probability"

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        format: str = "token-classification",
        **options: Any,
    ) -> None:
        self.format_name = format
        self.format = format_by_name(format)(model, tokenizer, **options)
        self.model, self.tokenizer = self.format.model, tokenizer
        self.splitter, self.prompt_suffix = self.format.splitter, self.format.prompt_suffix
        self.neutral: str | None = options.get("neutral")

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        format: str | None = None,
        separator: str | None = None,
        neutral: str | None = None,
        **kwargs: Any,
    ) -> "ProcessRewardModel":
        """Load a model and its tokenizer from a folder or the Hub; no remote code is run.

        Args:
            path_or_id: a local folder or a Hub id.
            format: the layout of its text; ``None``: detected by architecture, else by name.
            separator: ends a step in a solution; ``None`` for the format's own.
            neutral: what the middle one of three labels counts as, ``"positive"``, ``"half"`` or
                ``"negative"``; ``None``: the label that the checkpoint calls right counts.
            kwargs: passed to transformers' ``from_pretrained``, such as dtype or device_map.

        Raises:
            OSError: there is no such folder and no such id.
            ValueError: the format is not detected, or the checkpoint holds another kind of model.
        """
        name = detect_format(path_or_id, load_config(path_or_id)) if format is None else format
        model = format_by_name(name).load(path_or_id, **kwargs)
        tokenizer = load_tokenizer(path_or_id)
        options = {} if neutral is None else {"neutral": neutral}
        return cls(model, tokenizer, format=name, separator=separator, **options)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {
            "path_or_id": hub_id_or_path(self.model),
            "format": self.format_name,
            "separator": self.splitter.separator,
            **({} if self.neutral is None else {"neutral": self.neutral}),
        }

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """P(correct) of every step; a prompt is read once for several solutions in a row.

        Args:
            prompts: the prompt of each solution.
            solutions: texts, split at the separator, or lists of steps.

        Returns:
            For each solution float32 (s,); (0,) for one without steps.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        return self.format.score(prompts, solutions)

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps whose scores are read within the model's positions.

        A model with rotary positions also reads past them, but its scores there are noise.

        Args:
            prompt: the prompt.
            steps: the steps, none of them blank.
        """
        limit = max_positions(self.model)
        positions = self.format.encode(prompt, steps).score_positions
        return len(steps) if limit is None else sum(k < limit for k in positions)

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session that reads each prompt and each step once."""
        return self.format.start_session(prompts)
