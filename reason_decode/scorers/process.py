"""Process reward models: one probability of being right for each step."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.models.checkpoint import load_config, load_tokenizer
from reason_decode.models.heads import hub_id_or_path
from reason_decode.scorers.base import Scorer, ScoreSpace
from reason_decode.scorers.cached_session import CachedSession, score_all
from reason_decode.scorers.prm_formats import by_name, detect


class ProcessRewardModel(Scorer):
    r"""Scores each step of a solution: P(right) at the step's end, in [0, 1].

    Args:
        model: the model, as the format reads it; by default one for token classification.
        tokenizer: the model's own; it need not be the generator's, text is the common ground.
        format: how it wants its text: ``token-classification``, ``math-shepherd``, ``rlhflow``,
            ``qwen-math``, ``skywork``, ``reasoneval`` or ``generative``; see ``formats.py``.
        options: ``separator``, what ends a step in a solution (default: the format's);
            ``batch_tokens``, how many tokens, padding included, go through one forward pass at
            most; for ``reasoneval``, ``early``; for ``token-classification``, ``neutral``.

    Raises:
        TypeError: the format has no such option.
        ValueError: the model has another head, its vocabulary is smaller than the tokenizer's, or
            there is no such format.

    Example:
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
        self.name, self.format = format, by_name(format)(model, tokenizer, **options)
        self.model, self.tokenizer = self.format.model, tokenizer
        self.splitter = self.format.splitter
        if format == "token-classification":
            self.prompt_suffix = self.splitter.separator
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
            format: as above; ``None`` to tell it by the architecture, else by the name.
            separator: what ends a step in a solution; ``None`` for the format's own.
            neutral: what the middle one of three labels counts as, ``"positive"``, ``"half"`` or
                ``"negative"``; ``None``: right is what the checkpoint calls so.
            kwargs: passed to transformers' ``from_pretrained``, such as dtype or device_map.

        Raises:
            OSError: there is no such folder and no such id.
            ValueError: the format cannot be told, or the checkpoint holds another kind of model.
        """
        config = load_config(path_or_id)
        name = detect(path_or_id, config) if format is None else format
        model = by_name(name).load(path_or_id, **kwargs)
        tokenizer = load_tokenizer(path_or_id)
        options = {} if neutral is None else {"neutral": neutral}
        return cls(model, tokenizer, format=name, separator=separator, **options)

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {
            "path_or_id": hub_id_or_path(self.model),
            "format": self.name,
            "separator": self.splitter.separator,
            **({} if self.neutral is None else {"neutral": self.neutral}),
        }

    def score(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """P(right) of every step; a prompt with several solutions in a row is read once.

        Args:
            prompts: one a solution.
            solutions: text, split at the separator, or ready lists of steps.

        Returns:
            float32 (s,) a solution; (0,) for one without steps.

        Raises:
            ValueError: unequal numbers, a blank step in a list, or a score that is not finite.
        """
        return score_all(self.format, prompts, solutions)

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps whose scores are read within the model's positions.

        A model with rotary positions also reads past them, but its scores there are noise.

        Args:
            prompt: the prompt.
            steps: the steps, none of them blank.
        """
        config = self.model.config.get_text_config()
        limit = getattr(config, "max_position_embeddings", None)
        ends = self.format.encode(prompt, steps).ends
        return len(steps) if limit is None else sum(end < limit for end in ends)

    def start_session(self, prompts: Sequence[str]) -> CachedSession:
        """A session that reads each prompt and each step once."""
        return CachedSession(self.format, prompts)
