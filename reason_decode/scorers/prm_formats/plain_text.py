"""Process reward models with a head that read plain text: Skywork, ReasonEval."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.models.heads import apply_head, body_with_head, tensors_under
from reason_decode.models.inputs import EncodedSolution
from reason_decode.scorers.process import ProcessRewardModel

__all__ = ["ReasonEval", "Skywork"]


class Skywork(ProcessRewardModel):
    r"""``[bos] problem \n`` and each step with its own newline; a value head, through a sigmoid.

    Each piece is encoded alone. Blank lines of a solution are no steps here; upstream scores them
    too.

    Source: SkyworkAI/skywork-o1-prm-inference, model_utils/.
    """

    format = "skywork"
    required_tokens = ("\n",)

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The body and the checkpoint's value head; see ``ProcessRewardModel.load``."""
        weights = tensors_under(path_or_id, "v_head.summary.")
        head = nn.Linear(weights["weight"].shape[1], 1)
        return body_with_head(path_or_id, head, "v_head.", weights, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """``bos + problem + newline``, then each step and a newline."""
        bos = self.tokenizer.bos_token or ""
        ids = list(self.tokenizer(f"{bos}{prompt}\n")["input_ids"])
        score_positions: list[int] = []
        for step in steps:
            ids += [*self.cached_tokenizer.encode_cached(step), self.token_ids["\n"]]
            score_positions.append(len(ids) - 1)
        return EncodedSolution(ids, score_positions)

    def prob_correct(self, features: Tensor) -> Tensor:
        """``sigmoid(v_head(hidden))``."""
        return self.prob_of_logits(apply_head(self.model, features))

    def prob_of_logits(self, logits: Tensor) -> Tensor:
        """``sigmoid(logits)``."""
        return logits.float().sigmoid()[:, 0]


class ReasonEval(ProcessRewardModel):
    """A question and its steps, scored at each step's last token; labels wrong, neutral, right.

    Args:
        model: the model with its score head.
        tokenizer: the tokenizer of ``model``.
        position_shift: tokens before a step's last at which its score is read. The published script
            for the Mistral model, and its printed scores, read one token earlier; ``None``: 1 for
            Mistral, else 0.
        options: see ``ProcessRewardModel``.

    Source: Xia et al. 2024, 2404.05692; GAIR-NLP/ReasonEval, codes/examples.py.
    """

    format = "reasoneval"
    option_names = (*ProcessRewardModel.option_names, "position_shift")

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        position_shift: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, tokenizer, **options)
        mistral = int(model.config.model_type == "mistral")
        self.position_shift = mistral if position_shift is None else position_shift
        if position_shift is not None:
            self.options["position_shift"] = position_shift

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The body and the checkpoint's ``score_head``; see ``ProcessRewardModel.load``."""
        weights = tensors_under(path_or_id, "score_head.")
        shape = weights["weight"].shape
        head = nn.Linear(shape[1], shape[0], bias="bias" in weights)
        return body_with_head(path_or_id, head, "score_head.", weights, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The text, encoded with a padding token before each step that is then taken out."""
        tag = self.tokenizer.pad_token
        text = f"Question:\n{prompt}\nAnswer:\nLet's think step by step.\n"
        pieces = "".join(f"{tag}{step}" for step in steps)
        ids = list(self.tokenizer(text + pieces + (str(tag) if steps else ""))["input_ids"])
        # If the padding token is also the beginning of sequence, the first id is no tag.
        bos_is_pad = self.tokenizer.bos_token_id == ids[0] == self.tokenizer.pad_token_id
        kept: list[int] = []
        step_ends: list[int] = []
        for k, token in enumerate(ids):
            if token != self.tokenizer.pad_token_id or (bos_is_pad and k == 0):
                kept.append(token)
            else:
                step_ends.append(len(kept) - 1 - self.position_shift)
        return EncodedSolution(kept, step_ends[1:])

    def prob_correct(self, features: Tensor) -> Tensor:
        """Validity: P(neutral) + P(right)."""
        return self.prob_of_logits(apply_head(self.model, features))

    def prob_of_logits(self, logits: Tensor) -> Tensor:
        """``softmax(logits)[1] + softmax(logits)[2]``."""
        return logits.float().softmax(dim=-1)[:, 1:].sum(dim=-1)
