"""Process reward models: one probability of being correct for each step."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reason_decode.core.splitting import Splitting, prompt_suffix_for
from reason_decode.models.checkpoint import load_checkpoint, load_config, load_tokenizer
from reason_decode.models.heads import hub_id_or_path
from reason_decode.models.inputs import EncodedSolution, check_loaded, max_positions
from reason_decode.models.wrapped import unwrap_peft
from reason_decode.scorers.causal import CausalScorer
from reason_decode.scorers.causal_reader import Span

__all__ = ["HEADED", "NEUTRAL", "ProcessRewardModel", "TokenClassification"]

HEADED = ("token-classification", "qwen-math", "skywork", "reasoneval")
"""Names of the formats that read a reward head."""
NEUTRAL = {"positive": 1.0, "half": 0.5, "negative": 0.0}
"""Ways to count the middle of three labels -> the share of its probability that is right."""


class ProcessRewardModel(CausalScorer):
    r"""Scores each step of a solution: P(correct) at one token of the step's end, in [0, 1].

    ``from_pretrained`` returns an object of the class of the model's format, which is the layout of
    its text, and where its scores are read. So does ``ProcessRewardModel(model, tokenizer,
    format=...)`` for a model that is loaded already; the classes, such as ``TokenClassification``,
    are in ``prm_formats``. A format of your own inherits from this class and writes ``encode`` and
    ``prob_correct``.

    Args:
        model: the model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``; the generator may have another one.
        format: the name of a format in ``prm_formats.FORMATS``; ``None``: that of this class, else
            ``token-classification``, or what the config says of a model that this library trained.
        separator: the text after each step in the model's input, of formats that have one;
            ``None`` for the format's own.
        splitter: where a solution's text is split into steps: a ``StepSplitter``, a text, or
            several; ``None``: at ``separator``, or at blank lines if that is a special token, which
            no generator writes.
        batch_tokens: largest number of tokens in one forward pass, padding included.
        system: the system turn, for formats that read a chat; ``None``: the format's own, if it has
            one.
        chat_template_kwargs: further arguments of the chat template, for the same formats.

    Attributes:
        format: the name of the format.
        reads_chat: whether the format reads a chat.
        option_names: names of the arguments that a format has besides ``separator``.
        options: those of them that were given, as plain JSON, for ``settings``.
        required_tokens: texts that must have a token: the step's tag, or the verdicts.
        token_ids: text -> id, for each of these.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's, the tokenizer lacks one
            of ``required_tokens``, or options of a chat for a format that reads none.

    Examples:
        >>> from reason_decode import ProcessRewardModel, tiny
        >>> prm = ProcessRewardModel.from_pretrained(tiny.WEIGHTS / "prm")
        >>> steps = ["10 - 4 = 6 (left: 5 6 6)", "5 * 6 = 31 (left: 6 31)"]
        >>> (scores,) = prm.score(["Make 36 from 4 5 6 10.\n"], [steps])
        >>> [round(float(x)) for x in scores]
        [1, 0]
    """

    format: str = ""
    separator: str = "\n"
    reads_chat: bool = False
    option_names: tuple[str, ...] = ("system", "chat_template_kwargs")
    required_tokens: tuple[str, ...] = ()

    def __new__(
        cls, model: Any = None, tokenizer: Any = None, *, format: str | None = None, **options: Any
    ) -> Self:
        """An object of the class of the format that is named, where this class has none."""
        if cls is not ProcessRewardModel:
            return super().__new__(cls)
        # Imported here: the classes of the formats inherit from this one.
        from reason_decode.scorers.prm_formats import format_by_name, format_of_model

        check_loaded(model, tokenizer)
        kind: Any = format_by_name(format or format_of_model(model))
        return object.__new__(kind)

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        format: str | None = None,
        separator: str | None = None,
        splitter: Splitting | None = None,
        batch_tokens: int = 16_384,
        system: str | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        self._check_format(format)
        super().__init__(
            model,
            tokenizer,
            self.separator if separator is None else separator,
            chat=False,
            batch_tokens=batch_tokens,
            splitter=splitter,
        )
        given = {"system": system, "chat_template_kwargs": chat_template_kwargs}
        self.options: dict[str, Any] = {name: x for name, x in given.items() if x is not None}
        if self.options and not self.reads_chat:
            raise ValueError(
                f"got {', '.join(self.options)} for {type(self).__name__}, which reads plain text; "
                "leave them out"
            )
        self.cached_tokenizer.system = system
        self.cached_tokenizer.chat_template_kwargs = chat_template_kwargs or {}
        self.options |= self.splitter_settings()
        # Most formats put something of their own between prompt and steps.
        self.prompt_suffix = ""
        self.token_ids = {x: self.cached_tokenizer.token_id(x) for x in self.required_tokens}

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        *,
        format: str | None = None,
        separator: str | None = None,
        splitter: Splitting | None = None,
        neutral: str | None = None,
        **kwargs: Any,
    ) -> "ProcessRewardModel":
        """Load a model and its tokenizer from a folder or the Hub; no remote code is run.

        Args:
            path_or_id: a local folder or a Hub id.
            format: the layout of its text: ``token-classification``, ``math-shepherd``,
                ``rlhflow``, ``qwen-math``, ``skywork``, ``reasoneval``, ``versaprm``,
                ``math-psa``, ``step-tag``, ``implicit``, ``generative``, ``rating``, ``genprm``
                or ``thinkprm``; ``None``: that of this class, else detected by its files, see
                ``prm_formats.detect_format``.
            separator: the text after each step in the model's input; ``None`` for the format's own.
            splitter: where a solution's text is split into steps; see the class.
            neutral: of ``token-classification``, what the middle one of three labels counts as; see
                ``TokenClassification``.
            kwargs: further options of the format, such as ``system``; the others are passed to
                transformers' ``from_pretrained``, such as dtype or device_map.

        Raises:
            OSError: there is no such folder and no such id.
            TypeError: ``neutral`` for another format.
            ValueError: the format is not detected, is not that of this class, or the checkpoint
                holds another kind of model.
        """
        # Imported here: the classes of the formats inherit from this one.
        from reason_decode.scorers.prm_formats import detect_format, format_by_name, saved_options

        kind, saved = cls, dict[str, Any]()
        if cls is ProcessRewardModel and format is None:
            config = load_config(path_or_id)
            kind = format_by_name(detect_format(path_or_id, config))
            saved = saved_options(config)
        elif cls is ProcessRewardModel:
            kind = format_by_name(str(format))
        else:
            cls._check_format(format)
        given: dict[str, Any] = {"separator": separator, "splitter": splitter, "neutral": neutral}
        given |= {name: kwargs.pop(name) for name in kind.option_names if name in kwargs}
        options = saved | {name: x for name, x in given.items() if x is not None}
        options.pop("format", None)
        return kind(kind.load(path_or_id, **kwargs), load_tokenizer(path_or_id), **options)

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The model of a checkpoint with the head that this format reads.

        Args:
            path_or_id: a folder or a Hub id.
            kwargs: passed to transformers' ``from_pretrained``.
        """
        return load_checkpoint(AutoModelForCausalLM, path_or_id, **kwargs)

    @classmethod
    def _check_format(cls, format: str | None) -> None:
        if format not in (None, cls.format):
            raise ValueError(
                f"got format={format!r} for {cls.__name__}, whose format is {cls.format!r}; take "
                "ProcessRewardModel, which returns the class of a format"
            )

    def settings(self) -> dict[str, Any]:
        """Keyword arguments that rebuild this scorer with ``from_pretrained``."""
        return {
            "path_or_id": hub_id_or_path(self.model),
            "format": self.format,
            "separator": self.separator,
            **self.options,
        }

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps whose scores are read within the model's positions.

        A model with rotary positions also reads past them, but its scores there are noise.

        Args:
            prompt: the prompt.
            steps: the steps, none of them blank.
        """
        limit = max_positions(self.model)
        positions = self.encode(prompt, steps).score_positions
        return len(steps) if limit is None else sum(k < limit for k in positions)

    def score_spans(self, spans: Sequence[Span]) -> Tensor:
        """P(correct) of each step, (len(spans),)."""
        return self.prob_correct(torch.cat([span.features for span in spans]))

    @abstractmethod
    def prob_correct(self, features: Tensor) -> Tensor:
        """P(correct), (k,), from the features that ``forward`` gave for k tokens, (k, c)."""

    def prob_of_logits(self, logits: Tensor) -> Tensor:
        """P(correct), (k,), from the outputs of the head for k tokens, (k, labels).

        Formats that have a head write it; a server returns these outputs.

        Raises:
            ValueError: the format reads no head.
        """
        raise ValueError(
            f"got the format {self.format}, which reads no reward head; a server returns the "
            f"outputs of a head ({', '.join(HEADED)})"
        )

    def _at_tags(self, ids: Sequence[int], tag: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids up to the last tag; each step is scored at its tag."""
        positions = [k for k, token in enumerate(ids) if token == self.token_ids[tag]]
        if len(positions) != len(steps):
            raise ValueError(
                f"got {len(positions)} step tags in the text of {len(steps)} steps; prompt and "
                f"steps must not contain {tag!r}, which marks a step's end"
            )
        return EncodedSolution(list(ids[: positions[-1] + 1] if positions else ids), positions)


class TokenClassification(ProcessRewardModel):
    """Prompt, then each step and a separator, each encoded alone (the layout of TRL).

    P(correct) is read at the separator's last token: the probability of the label that the config
    calls ``right``; without such a label, of the second of two labels, or of all but the first of
    three (wrong, neutral, right: PRM800K's ratings).

    Args:
        model: a model for token classification with two or three labels.
        tokenizer: the tokenizer of ``model``.
        neutral: what the second of three labels counts as: ``"positive"``, ``"negative"``, or
            ``"half"`` of its probability as right; ``None``: as described above.
        options: see ``ProcessRewardModel``.

    Raises:
        ValueError: the model is another one, or ``neutral`` is none of these words or does not go
            with the labels.

    Source: trl 1.13, trl/experimental/prm/prm_trainer.py; three labels: Lightman et al. 2023,
    2305.20050, section 2.6, where neutral counts as right, and appendix F, which compares both.
    """

    format = "token-classification"
    option_names = (*ProcessRewardModel.option_names, "neutral")

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        neutral: str | None = None,
        **options: Any,
    ) -> None:
        check_loaded(model, tokenizer)
        model = unwrap_peft(model)
        labels, count = model.config.id2label or {}, model.config.num_labels
        if "TokenClassification" not in type(model).__name__ or count not in (2, 3):
            raise ValueError(
                f"got {type(model).__name__} with {count} labels; allowed is token classification "
                "with two labels (wrong, right) or three (wrong, neutral, right). For other models "
                "take another class of reason_decode.scorers.prm_formats.FORMATS"
            )
        super().__init__(model, tokenizer, **options)
        self.prompt_suffix, self.neutral = prompt_suffix_for(self.separator), neutral
        named = [int(k) for k, label in labels.items() if label == "right"]
        self.shares = torch.tensor([float(k in named if named else k > 0) for k in range(count)])
        if neutral is not None:
            if neutral not in NEUTRAL or count != 3 or named not in ([], [2]):
                raise ValueError(
                    f"got neutral={neutral!r} with labels {dict(labels)}; allowed are "
                    f"{', '.join(NEUTRAL)}, for three labels in the order wrong, neutral, right"
                )
            self.shares[1] = NEUTRAL[neutral]
            self.options["neutral"] = neutral

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """A model for token classification; see ``ProcessRewardModel.load``."""
        return load_checkpoint(AutoModelForTokenClassification, path_or_id, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """``[bos] prompt (step separator)*``."""
        return self.cached_tokenizer.encode_plain(prompt, steps, self.separator)

    def forward(self, **inputs: Any) -> Tensor:
        """The label logits of each token, (b, t, 2 or 3)."""
        return self.model(**inputs).logits

    def prob_correct(self, features: Tensor) -> Tensor:
        """``sum of share * softmax(logits)``, with the share of each label that counts as right."""
        return self.prob_of_logits(features)

    def prob_of_logits(self, logits: Tensor) -> Tensor:
        """The same: the features are the head's outputs."""
        return (logits.float().softmax(dim=-1) * self.shares.to(logits.device)).sum(dim=-1)
