"""Reward models at a server: texts are laid out here, and read there (vLLM's pooling models)."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor
from transformers import (
    AutoModel,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from reason_decode.core.errors import ScoringError
from reason_decode.core.messages import Prompt, to_prompts
from reason_decode.core.solutions import check_pairs, to_steps
from reason_decode.core.splitting import Splitting
from reason_decode.io.openai_client import RequestFailed
from reason_decode.io.pooling_client import ClassifyEndpoint, PoolingEndpoint
from reason_decode.models.checkpoint import load_config, load_tokenizer
from reason_decode.models.inputs import EncodedSolution
from reason_decode.models.skeleton import build_skeleton
from reason_decode.scorers.base import Scorer, Session, check_finite
from reason_decode.scorers.causal import CausalScorer
from reason_decode.scorers.outcome import OutcomeRewardModel
from reason_decode.scorers.prm_formats import detect_format, format_by_name, saved_options
from reason_decode.scorers.process import HEADED, ProcessRewardModel
from reason_decode.scorers.rescoring import RescoringSession

__all__ = [
    "ServedOutcomeRewardModel",
    "ServedProcessRewardModel",
    "ServedRewardModel",
    "load_served_scorer",
]


Layout = TypeVar("Layout", bound=CausalScorer)


class ServedRewardModel(Scorer, Generic[Layout]):
    """A reward model whose layout is here and whose weights are at a server.

    The ids of a solution are those that the model in this process would read; the server returns
    the outputs of its head, of which the scores are made here. Equal texts of one call are sent
    once. A session sends whole trajectories: a server keeps no state between requests, and vLLM
    uses no cache of prefixes for outputs at every token. All tokens that are sent are counted.

    Args:
        layout: encodes the solutions; its model needs no weights.
        endpoint: the server.
    """

    def __init__(self, layout: Layout, endpoint: PoolingEndpoint) -> None:
        self.layout, self.endpoint = layout, endpoint
        self.score_space, self.splitter = layout.score_space, layout.splitter
        self.per_step, self.prompt_suffix = layout.per_step, layout.prompt_suffix
        self.vote_weighting = layout.vote_weighting

    def score(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        """Scores of each solution; see ``Scorer.score``.

        Raises:
            ValueError: unequal numbers, or a blank step in a list.
            ScoringError: the server cannot read a text, such as one that is too long, or returns
                numbers that are not finite or not those of the text's tokens.
            ConnectionError: the server is down, refuses, or answers with something else.
        """
        return self.score_counted(prompts, solutions)[0]

    def score_counted(
        self, prompts: Sequence[Prompt], solutions: Sequence[str | Sequence[str]]
    ) -> tuple[list[Tensor], int]:
        """Scores of each solution, as of ``score``, and the number of tokens that were sent."""
        texts = to_prompts(prompts)
        check_pairs(texts, solutions)
        steps = to_steps(solutions, self.splitter, self.per_step)
        encoded = [
            self.layout.encode(prompt, x) if x else EncodedSolution([], [])
            for prompt, x in zip(texts, steps, strict=True)
        ]
        distinct = {tuple(one.ids): one for one in encoded if one.score_positions}
        found = dict(zip(distinct, self._ask([*distinct.values()]), strict=True))
        scores = [found[tuple(x.ids)] if x.score_positions else torch.zeros(0) for x in encoded]
        check_finite(scores, [f"solution {k}" for k in range(len(scores))])
        return scores, sum(map(len, distinct))

    def start_session(self, prompts: Sequence[str]) -> Session:
        """A session that sends whole trajectories, and counts their tokens."""
        return _ServedSession(self, prompts)

    def max_steps(self, prompt: str, steps: Sequence[str]) -> int:
        """Number of leading steps within the positions that the model was made for."""
        return self.layout.max_steps(prompt, steps)

    def scores_of(self, logits: Tensor) -> Tensor:
        """The scores, (k,), of the head's outputs for k scored tokens, (k, labels)."""
        raise NotImplementedError

    def _ask(self, encoded: Sequence[EncodedSolution]) -> list[Tensor]:
        """The scores of texts, each with the number of its scored tokens."""
        scores: list[Tensor] = []
        answers = self.endpoint([one.ids for one in encoded])
        for one, answer in zip(encoded, answers, strict=True):
            if isinstance(answer, RequestFailed):
                if answer.retryable:
                    raise ConnectionError(
                        f"{answer.reason}; give the same command again when the server is up"
                    )
                raise ScoringError(f"{self.endpoint.url} did not score a text: {answer.reason}")
            rows = torch.tensor(answer.rows, dtype=torch.float32)
            scores.append(self.scores_of(self._at_positions(rows, one)).float())
        return scores

    def _at_positions(self, rows: Tensor, encoded: EncodedSolution) -> Tensor:
        """The rows of the scored tokens.

        Raises:
            ScoringError: the number of rows is neither that of the tokens nor of the scored ones.
        """
        tokens, positions = len(encoded.ids), encoded.score_positions
        if len(rows) == tokens:
            return rows[positions]
        if len(rows) == len(positions):  # a server that returns the rows of step tags alone
            return rows
        raise ScoringError(
            f"{self.endpoint.url} returned {len(rows)} rows for a text of {tokens} tokens with "
            f"{len(positions)} scored ones; serve the model of this layout, without truncation"
        )


class ServedProcessRewardModel(ServedRewardModel[ProcessRewardModel]):
    """Scores steps by a process reward model with a head at a server (``vllm serve``).

    ``vllm serve MODEL --runner pooling`` runs models for token classification and
    ``Qwen2ForProcessRewardModel``. Formats without a head, whose models answer with a verdict, are
    not served so.

    Args:
        base_url: such as ``http://localhost:8000``.
        model: the model's name at the server.
        layout: a process reward model of the same format and tokenizer; its weights are not used.
        options: of ``PoolingEndpoint``, such as ``concurrency``.

    Raises:
        ValueError: the format has no head, or the address is none.
    """

    def __init__(
        self, base_url: str, model: str, layout: ProcessRewardModel, **options: Any
    ) -> None:
        if layout.format not in HEADED:
            raise ValueError(
                f"got the format {layout.format!r}, which reads no reward head; a server returns "
                f"the outputs of one: allowed are {', '.join(HEADED)}"
            )
        super().__init__(layout, PoolingEndpoint(base_url, model, **options))

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        base_url: str,
        model: str,
        *,
        format: str | None = None,
        layout_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "ServedProcessRewardModel":
        """The scorer of a checkpoint, of which only config and tokenizer are read.

        Args:
            path_or_id: a folder or a Hub id.
            base_url: such as ``http://localhost:8000``.
            model: the model's name at the server.
            format: the layout of its text; ``None``: detected.
            layout_options: options of the format, such as ``splitter`` and ``separator``.
            options: of ``PoolingEndpoint``, such as ``concurrency``.

        Raises:
            OSError: there is no such folder and no such id.
            ValueError: the format is not detected, or has no head.
        """
        config = load_config(path_or_id)
        saved = saved_options(config)
        kinds = " ".join(config.architectures or [])
        if format is None and not saved and any(x in kinds for x in ("Process", "PRM", "Prm")):
            format = "qwen-math"  # the tensors of the head may be elsewhere
        name = format or detect_format(path_or_id, config)
        tokens = name == "token-classification"
        skeleton = build_skeleton(AutoModelForTokenClassification if tokens else AutoModel, config)
        given = {**saved, **(layout_options or {})}
        given.pop("format", None)
        layout = format_by_name(name)(skeleton, load_tokenizer(path_or_id), **given)
        return cls(base_url, model, layout, **options)

    def scores_of(self, logits: Tensor) -> Tensor:
        """P(correct) of each step."""
        return self.layout.prob_of_logits(logits)


class ServedOutcomeRewardModel(ServedRewardModel[OutcomeRewardModel]):
    """Scores solutions by an outcome reward model at a server, by ``POST /classify``.

    ``vllm serve MODEL --runner pooling`` runs models for sequence classification.

    Args:
        base_url: such as ``http://localhost:8000``.
        model: the model's name at the server.
        layout: an outcome reward model with the same tokenizer; its weights are not used.
        options: of ``PoolingEndpoint``, such as ``concurrency``.
    """

    def __init__(
        self, base_url: str, model: str, layout: OutcomeRewardModel, **options: Any
    ) -> None:
        super().__init__(layout, ClassifyEndpoint(base_url, model, **options))

    @classmethod
    def from_pretrained(
        cls,
        path_or_id: str | Path,
        base_url: str,
        model: str,
        *,
        layout_options: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> "ServedOutcomeRewardModel":
        """The scorer of a checkpoint, of which only config and tokenizer are read.

        Args:
            path_or_id: a folder or a Hub id.
            base_url: such as ``http://localhost:8000``.
            model: the model's name at the server.
            layout_options: of ``OutcomeRewardModel``, such as ``raw`` and ``splitter``.
            options: of ``PoolingEndpoint``, such as ``concurrency``.

        Raises:
            OSError: there is no such folder and no such id.
            ValueError: the model has another number of labels than one or two.
        """
        skeleton = build_skeleton(AutoModelForSequenceClassification, load_config(path_or_id))
        tokenizer = load_tokenizer(path_or_id)
        layout = OutcomeRewardModel(skeleton, tokenizer, **(layout_options or {}))
        return cls(base_url, model, layout, **options)

    def scores_of(self, logits: Tensor) -> Tensor:
        """The score of each solution."""
        return self.layout.score_logits(logits)


def load_served_scorer(
    spec: str, base_url: str, model: str, *, splitter: Splitting | None = None, **options: Any
) -> ServedRewardModel[Any]:
    """The scorer of a reward model at a server, by the name of its layout.

    Args:
        spec: a folder or Hub id whose config and tokenizer lay texts out, or ``word=folder`` with
            the word ``orm``, ``prm`` or the name of a format with a head.
        base_url: such as ``http://localhost:8000``.
        model: the model's name at the server.
        splitter: where solutions are split into steps; ``None``: as the format has it.
        options: of ``PoolingEndpoint``, such as ``concurrency``.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the format is not detected, or has no head.
    """
    word, _, folder = spec.partition("=")
    if word not in ("prm", "orm", *HEADED) or not folder:
        word, folder = "", spec
    layout_options = {} if splitter is None else {"splitter": splitter}
    kinds = " ".join(load_config(folder).architectures or [])
    if word == "orm" or (not word and "SequenceClassification" in kinds):
        return ServedOutcomeRewardModel.from_pretrained(
            folder, base_url, model, layout_options=layout_options, **options
        )
    return ServedProcessRewardModel.from_pretrained(
        folder,
        base_url,
        model,
        format=None if word in ("", "prm") else word,
        layout_options=layout_options,
        **options,
    )


class _ServedSession(RescoringSession):
    """A session that counts the tokens that are sent."""

    def __init__(self, served: ServedRewardModel[Any], prompts: Sequence[str]) -> None:
        super().__init__(served, prompts)
        self.served = served

    def _score_whole(
        self, prompts: Sequence[str], solutions: Sequence[str | Sequence[str]]
    ) -> list[Tensor]:
        scores, tokens = self.served.score_counted(prompts, solutions)
        self.tokens_read += tokens
        return scores
