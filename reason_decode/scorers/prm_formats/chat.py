"""Process reward models that read a chat: RLHFlow's and Qwen's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor
from transformers import PreTrainedModel

from reason_decode.models.heads import (
    EnsembleHead,
    apply_head,
    body_with_head,
    make_head,
    tensors_under,
)
from reason_decode.models.inputs import EncodedSolution
from reason_decode.scorers.prm_formats.verdict import VerdictFormat
from reason_decode.scorers.process import ProcessRewardModel

__all__ = ["QwenMath", "RLHFlow", "chat_with_verdicts"]


class RLHFlow(VerdictFormat):
    """A chat in which every step is a user's message and ``+`` the assistant's answer.

    The first message is the question, a space and the first step; steps are stripped. P(+) against
    P(-) is read where the answer is predicted; steps before were answered ``+``.

    Source: RLHFlow/RLHF-Reward-Modeling, math-rm/prm_evaluate.py.
    """

    format = "rlhflow"
    separator = "\n\n"
    reads_chat = True
    required_tokens = verdicts = ("+", "-")

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The chat up to where the last verdict is predicted, encoded message by message."""
        if not steps:
            opening = self._render(prompt, [str(prompt)], generate=False)
            # What the template appends to the message is not there once a step has been added;
            # and templates may trim a message.
            end = opening.rindex(prompt.strip()) + len(prompt.strip())
            return EncodedSolution(list(self.cached_tokenizer.encode_cached(opening[:end])), [])
        messages, good = self.user_messages(prompt, steps), self.verdicts[0]
        ids: list[int] = []
        score_positions: list[int] = []
        encoded = ""
        for k in range(1, len(messages) + 1):
            if k > 1:
                ids.append(self.token_ids[good])
                encoded += good
            text = self._render(prompt, messages[:k], generate=True)
            if not text.startswith(encoded):
                text = self.continue_chat(prompt, messages[:k], encoded)
            ids.extend(self.cached_tokenizer.encode_cached(text[len(encoded) :]))
            score_positions.append(len(ids) - 1)
            encoded = text
        return EncodedSolution(ids, score_positions)

    def user_messages(self, prompt: str, steps: Sequence[str]) -> list[str]:
        """The user's message for each step; the first begins with the prompt."""
        return [f"{prompt} {steps[0].strip()}", *(step.strip() for step in steps[1:])]

    def _render(self, prompt: str, messages: Sequence[str], generate: bool) -> str:
        """The chat of a prompt and some user's messages as text."""
        chat = chat_with_verdicts(messages, self.verdicts[0])
        return self.cached_tokenizer.render_chat(chat, generate)

    def continue_chat(self, prompt: str, messages: Sequence[str], encoded: str) -> str:
        """The chat as text, where its template has rewritten the beginning that was encoded."""
        raise ValueError(
            "the chat template rewrites earlier turns when later ones are added; pass the "
            "tokenizer that belongs to the reward model"
        )


class QwenMath(ProcessRewardModel):
    """Qwen's chat, the answer being the steps with ``<extra_0>`` after each.

    P(correct) is read at each ``<extra_0>``, by the head that the checkpoint has: the second of two
    labels, the sigmoid of one, or the mean of the sigmoids of an ensemble.

    Source: Zhang et al. 2025, 2501.07301; Qwen/Qwen2.5-Math-PRM-7B, model card and
    modeling_qwen2_rm.py; the ensemble: sail/ActPRM (Duan et al. 2025, 2504.10559).
    """

    format = "qwen-math"
    separator = "\n\n"
    reads_chat = True
    required_tokens = ("<extra_0>",)
    system = "Please reason step by step, and put your final answer within \\boxed{}."

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The body and the checkpoint's ``score`` layers; see ``ProcessRewardModel.load``."""
        head = make_head(tensors_under(path_or_id, "score."))
        return body_with_head(path_or_id, head, "score.", **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The chat up to the last ``<extra_0>``."""
        messages = [
            {"role": "system", "content": self.system},
            {"role": "user", "content": prompt},
        ]
        if steps:
            answer = "".join(f"{step}<extra_0>" for step in steps)
            messages.append({"role": "assistant", "content": answer})
        text = self.cached_tokenizer.render_chat(messages, generate=not steps)
        return self._at_tags(self.cached_tokenizer.encode(text), "<extra_0>", steps)

    def prob_correct(self, features: Tensor) -> Tensor:
        """``softmax(head(hidden))[1]``, or the mean of ``sigmoid(head(hidden))``."""
        logits = apply_head(self.model, features).float()
        if isinstance(self.model.get_submodule("reward_head"), EnsembleHead):
            return logits.sigmoid().mean(dim=-1)
        return self.prob_of_logits(logits)

    def prob_of_logits(self, logits: Tensor) -> Tensor:
        """``sigmoid`` of one label, ``softmax(...)[1]`` of two."""
        logits = logits.float()
        if logits.shape[-1] == 1:
            return logits.sigmoid()[:, 0]
        return logits.softmax(dim=-1)[:, 1]


def chat_with_verdicts(messages: Sequence[str], good: str) -> list[dict[str, str]]:
    """The chat that waits for the answer to the last message; those before were answered ``good``.

    Args:
        messages: what the user says, in order.
        good: what the assistant has answered.
    """
    chat: list[dict[str, str]] = []
    for message in messages:
        chat.append({"role": "user", "content": message})
        chat.append({"role": "assistant", "content": good})
    return chat[:-1]
