"""Any chat model as a verifier of steps, which is asked whether each is correct."""

import re
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import turns
from reason_decode.core.thinking import (
    check_thinking_tags,
    close_thought,
    find_thinking_tags,
    switches_off,
)
from reason_decode.scorers.prm_formats.chat import RLHFlow, chat_with_verdicts

__all__ = ["QUESTION", "RATING_QUESTION", "Generative", "Rating", "step_questions"]

QUESTION = "Is this step correct (Yes/No)?"
RATING_QUESTION = (
    "How likely is this step correct? Answer with one digit, from 0 (surely wrong) to 9 (surely "
    "correct)."
)
# A model that answers puts most of its probability on the two verdicts. One that would think first,
# or write a sentence, leaves to them what any two tokens get: 1e-5 in a vocabulary of 150,000.
_LEAST_MASS = 1e-3
_MARK = "Qx0xQ"


class Generative(RLHFlow):
    """Any chat model as a verifier: it is shown each step and asked whether it is correct.

    ``P(Yes) / (P(Yes) + P(No))`` where the answer is predicted; steps before were answered Yes. Of
    a conversation all turns are read, the problem being the last of the user's. A model that thinks
    is asked with thinking off: by the switch of its template (``enable_thinking``, ``thinking``)
    and, where the template opens a thought all the same, by closing it.

    Args:
        model: a causal language model; it is put into evaluation mode.
        tokenizer: the tokenizer of ``model``, with a chat template.
        chat_template_kwargs: further arguments of the chat template; they overrule the switch.
        thinking_tags: the texts before and after a thought; ``None``: found in the template.
        options: see ``ProcessRewardModel``.

    Warns:
        UserWarning: P(Yes) + P(No) is below 0.001, as the median over the steps of a call: the
            model would answer something else, and the scores are noise. Once for each scorer.

    Source: GenRM (Zhang et al. 2024, 2408.15240), whose direct verifier is asked "Is the answer
    correct (Yes/No)?" of whole solutions; here of each step.
    """

    format = "generative"
    separator = "\n"
    option_names = (*RLHFlow.option_names, "thinking_tags")
    required_tokens = verdicts = ("Yes", "No")
    question = QUESTION

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        thinking_tags: Sequence[str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, tokenizer, chat_template_kwargs=chat_template_kwargs, **options)
        tags = check_thinking_tags(thinking_tags)
        self.thinking_tags = find_thinking_tags(tokenizer) if tags is None else tags
        if tags is not None:
            self.options["thinking_tags"] = list(tags)
        self.cached_tokenizer.chat_template_kwargs = {
            **switches_off(tokenizer),
            **(chat_template_kwargs or {}),
        }
        self._has_warned = False

    def user_messages(self, prompt: str, steps: Sequence[str]) -> list[str]:
        """A message for each step, with the question; the problem before the first."""
        last = turns(prompt)[-1]
        # A conversation may end with the beginning of an answer, of which the steps are the rest.
        answer = f"\n\n{last['content'].strip()}" if last["role"] == "assistant" else ""
        return step_questions(f"{prompt}{answer}", steps, self.question)

    def prob_correct(self, features: Tensor) -> Tensor:
        """``softmax(logits[verdicts])[0]``; warns once where the verdicts are unlikely."""
        self._check_mass(features)
        return super().prob_correct(features)

    def _check_mass(self, features: Tensor) -> None:
        """Warn once where the model would answer something else."""
        if self._has_warned or not len(features):
            return
        ids = [self.token_ids[answer] for answer in self.required_tokens]
        logp = self.next_token.logits(features, ids).logsumexp(dim=-1)
        logp = logp - self.next_token.log_normalizer(features).to(logp.device)
        mass = float(logp.exp().median())
        # NaN is refused where scores are checked.
        if mass >= _LEAST_MASS or mass != mass:
            return
        self._has_warned = True
        answers = " + ".join(f"P({answer})" for answer in self.required_tokens)
        warnings.warn(
            f"got {answers} = {mass:.1e} where the verdicts of "
            "steps are read (the median): the model would answer something else, and the "
            "scores are noise. If it thinks first, pass the switch of its chat template, such as "
            "chat_template_kwargs={'enable_thinking': False}, or the tags that it thinks between "
            f"as thinking_tags= (now {tuple(self.thinking_tags)}); or take another model, or a "
            "verifier that thinks, such as GenPRM or ThinkPRM",
            UserWarning,
            stacklevel=2,
        )

    def _render(self, prompt: str, messages: Sequence[str], generate: bool) -> str:
        chat = self._chat(prompt, messages)
        text = self.cached_tokenizer.render_chat(chat, generate)
        return close_thought(text, self.thinking_tags) if generate else text

    def _chat(self, prompt: str, messages: Sequence[str]) -> list[dict[str, str]]:
        before = turns(prompt)
        last_user = max(k for k, turn in enumerate(before) if turn["role"] == "user")
        return [*before[:last_user], *chat_with_verdicts(messages, self.verdicts[0])]

    def continue_chat(self, prompt: str, messages: Sequence[str], encoded: str) -> str:
        """The text that was encoded, and the one that the template puts behind an answer.

        A template may render an earlier answer without the closed thought before it. The model then
        reads what it would have read while it answered, and each token once.

        Raises:
            ValueError: the template rewrites more than that.
        """
        whole = self.cached_tokenizer.render_chat(self._chat(prompt, messages), generate=True)
        chat = self._chat(prompt, messages)
        chat[-2] = {"role": "assistant", "content": _MARK}
        text = self.cached_tokenizer.render_chat(chat, generate=True)
        _, mark, rest = text.rpartition(_MARK)
        if not mark or not self._without_thoughts(whole).startswith(
            self._without_thoughts(encoded)
        ):
            return super().continue_chat(prompt, messages, encoded)
        return encoded + close_thought(rest, self.thinking_tags)

    def _without_thoughts(self, text: str) -> str:
        """A text without white space and empty thoughts, for a comparison."""
        return re.sub(r"\s+", "", text).replace("".join(self.thinking_tags), "")


class Rating(Generative):
    """Any chat model as a verifier that rates each step by a digit: ``sum_k k P(k) / 9``.

    P(k) is the probability of the digit k among the ten; steps before were rated 9. Two answers of
    the same likelihood, such as 5 and 6, leave a score between theirs, where one of two verdicts
    would be a matter of chance.

    Args:
        model: see ``Generative``.
        tokenizer: see ``Generative``; it has a token for each digit.
        options: see ``Generative``.

    Source: G-Eval (Liu et al. 2023, 2303.16634, section 2), which weighs scores by their tokens'
    probabilities.
    """

    format = "rating"
    required_tokens = tuple("0123456789")
    verdicts = ("9", "0")
    question = RATING_QUESTION

    def prob_correct(self, features: Tensor) -> Tensor:
        """The expected digit over 9; warns once where digits are unlikely."""
        self._check_mass(features)
        digits = [self.token_ids[digit] for digit in self.required_tokens]
        probabilities = self.next_token.logits(features, digits).softmax(dim=-1)
        marks = torch.arange(len(digits), device=probabilities.device) / (len(digits) - 1)
        return (probabilities * marks).sum(dim=-1)


def step_questions(prompt: str, steps: Sequence[str], question: str = QUESTION) -> list[str]:
    """The user's message for each step: the step and the question; the problem before the first.

    Args:
        prompt: the problem.
        steps: at least one.
        question: asks whether the step is right.
    """
    first, *rest = [f"{step}\n\n{question}" for step in steps]
    return [f"{prompt}\n\n{first}", *rest]
