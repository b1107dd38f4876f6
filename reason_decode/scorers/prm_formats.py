r"""How published process reward models want their text, and where their scores are read.

A format is a ``Judge`` (see ``reading.py``): it lays a solution out as token ids, one place to be
judged a step, and turns what the model says there into P(right). Each class names its source.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForTokenClassification,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from reason_decode.core.steps import StepSplitter
from reason_decode.models.checkpoint import load_checkpoint
from reason_decode.models.heads import (
    apply_head,
    body_with_head,
    output_layer,
    tensors_under,
)
from reason_decode.models.tokenization import CachedTokenizer, check_batch, check_loaded
from reason_decode.scorers.cached_session import EncodedSolution, Span

__all__ = ["FORMATS", "Format", "by_name", "detect"]


class Format:
    """What the formats share: tokenising, and reading hidden states of a model's body.

    Args:
        model: the model, in evaluation mode from here on.
        tokenizer: its own; it need not be the generator's, text is the common ground.
        separator: what ends a step in a solution's text; ``None`` for the format's own.
        batch_tokens: at most this many tokens, padding included, go through one forward pass.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's, or a token that the
            format needs is missing.
    """

    separator = "\n"
    per_step = True
    needs: tuple[str, ...] = ()
    """Texts that must have a token: the tag, or the verdicts to choose from."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        self.words = CachedTokenizer(tokenizer, model)
        check_batch(batch_tokens)
        self.model, self.tokenizer = model.eval(), tokenizer
        self.splitter = StepSplitter(self.separator if separator is None else separator)
        self.batch_tokens = batch_tokens
        self.tokens = {text: self.words.token(text) for text in self.needs}

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The model of a checkpoint, with the head that this format reads."""
        return load_checkpoint(AutoModelForCausalLM, path_or_id, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids of a prompt with its first steps, and where each step is judged."""
        raise NotImplementedError

    def read(self, **inputs: Any) -> Tensor:
        """The last hidden state of each token, (b, t, h)."""
        return self.model.base_model(**inputs).last_hidden_state

    def judge(self, spans: Sequence[Span]) -> Tensor:
        """P(right), one a span of one place."""
        return self.right(torch.cat([span.features for span in spans]))

    def right(self, features: Tensor) -> Tensor:
        """P(right), (k,), from what ``read`` gave for k places."""
        raise NotImplementedError

    def _at_tags(self, ids: Sequence[int], tag: str, steps: Sequence[str]) -> EncodedSolution:
        """The ids up to the last tag; every tag is where a step is judged."""
        ends = [k for k, token in enumerate(ids) if token == self.tokens[tag]]
        if len(ends) != len(steps):
            raise ValueError(
                f"got {len(ends)} step tags in the text of {len(steps)} steps; prompt and steps "
                f"must not contain {tag!r}, which marks a step's end"
            )
        return EncodedSolution(list(ids[: ends[-1] + 1] if ends else ids), ends)


NEUTRAL = {"positive": 1.0, "half": 0.5, "negative": 0.0}
"""What the middle one of three labels may count as, and how much of it is then right."""


class TokenClassification(Format):
    """Prompt, then each step and a separator, every piece tokenised by itself (TRL's layout).

    P(right) is read at the separator's last token: that of the label which the config calls
    ``right``; if none is, of two labels the second, of three (wrong, neutral, right: PRM800K's
    ratings) all but the first. ``neutral`` decides of three labels what the second counts as:
    ``"positive"``, ``"negative"``, or ``"half"`` of its probability as right.

    Source: trl 1.13, trl/experimental/prm/prm_trainer.py; three labels: Lightman et al. 2023,
    2305.20050, section 2.6, where neutral counts as right, and appendix F, which compares both.

    Raises:
        ValueError: the model is none for token classification with two or three labels, or
            ``neutral`` is none of these words or the labels have no neutral one.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        neutral: str | None = None,
        **options: Any,
    ) -> None:
        check_loaded(model, tokenizer)
        if "TokenClassification" not in type(model).__name__ or model.config.num_labels not in (
            2,
            3,
        ):
            raise ValueError(
                f"got {type(model).__name__} with {model.config.num_labels} labels; allowed is "
                "token classification with two labels (wrong, right) or three (wrong, neutral, "
                f"right). Other formats: {', '.join(FORMATS)}"
            )
        super().__init__(model, tokenizer, **options)
        labels = model.config.id2label or {}
        named = [int(k) for k, label in labels.items() if label == "right"]
        count = model.config.num_labels
        self.shares = torch.tensor([float(k in named if named else k > 0) for k in range(count)])
        if neutral is not None:
            if neutral not in NEUTRAL or count != 3 or named not in ([], [2]):
                raise ValueError(
                    f"got neutral={neutral!r} with labels {dict(labels)}; allowed are "
                    f"{', '.join(NEUTRAL)}, for three labels in the order wrong, neutral, right"
                )
            self.shares[1] = NEUTRAL[neutral]

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """A model for token classification."""
        return load_checkpoint(AutoModelForTokenClassification, path_or_id, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """``[bos] prompt (step separator)*``."""
        return self.words.plain(prompt, steps, self.splitter.separator)

    def read(self, **inputs: Any) -> Tensor:
        """The label logits of each token, (b, t, 2 or 3)."""
        return self.model(**inputs).logits

    def right(self, features: Tensor) -> Tensor:
        """``sum of share * softmax(logits)``, the share of each label that counts as right."""
        return (features.float().softmax(dim=-1) * self.shares.to(features.device)).sum(dim=-1)


class MathShepherd(Format):
    r"""``"question Step 1: ... ки\nStep 2: ... ки"``; P(+) against P(-) at each ``ки``.

    The logits are those at the tag itself, where training had put the verdict in the tag's place.
    A step that does not begin with "Step k:" is given it.

    Source: Wang et al. 2023, 2312.08935; peiyi9979/math-shepherd-mistral-7b-prm as openr's
    prm/infer_fns.py reads it.
    """

    needs = ("ки", "+", "-")

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The text tokenised as a whole, up to the last tag."""
        numbered = [
            step if re.match(r"Step \d+:", step) else f"Step {k}: {step}"
            for k, step in enumerate(steps, 1)
        ]
        lines = "\n".join(f"{step} ки" for step in numbered)
        text = f"{prompt} {lines}" if steps else prompt
        return self._at_tags(self.tokenizer(text)["input_ids"], "ки", steps)

    def right(self, features: Tensor) -> Tensor:
        """``softmax(logits[good, bad])[0]``."""
        return _choice(self.model, features, [self.tokens["+"], self.tokens["-"]])


class RLHFlow(Format):
    """A chat in which every step is a user's turn and ``+`` the assistant's answer.

    The first turn is the question, a space and the first step. P(+) against P(-) is read where the
    answer is predicted.

    Source: RLHFlow/RLHF-Reward-Modeling, math-rm/prm_evaluate.py.
    """

    separator = "\n\n"
    needs = ("+", "-")
    """The two verdicts, the good one first."""

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The chat up to where the last answer is predicted, tokenised turn by turn."""
        if not steps:
            opening = self._render([prompt], generate=False)
            # What the template puts behind the turn is not there once a step has been added.
            # Templates may trim a turn.
            end = opening.rindex(prompt.strip()) + len(prompt.strip())
            return EncodedSolution(list(self.words.ids(opening[:end])), [])
        turns, good = self.turns(prompt, steps), self.needs[0]
        layout, shown = EncodedSolution([], []), ""
        for k in range(1, len(turns) + 1):
            if k > 1:
                layout.ids.append(self.tokens[good])
                shown += good
            text = self._render(turns[:k], generate=True)
            if not text.startswith(shown):
                raise ValueError(
                    "the chat template rewrites earlier turns when later ones are added; pass the "
                    "tokenizer that belongs to the reward model"
                )
            layout.ids.extend(self.words.ids(text[len(shown) :]))
            layout.ends.append(len(layout.ids) - 1)
            shown = text
        return layout

    def turns(self, prompt: str, steps: Sequence[str]) -> list[str]:
        """What the user says, a turn a step; the first begins with the prompt."""
        return [f"{prompt} {steps[0]}", *steps[1:]]

    def right(self, features: Tensor) -> Tensor:
        """``softmax(logits[good, bad])[0]``."""
        return _choice(self.model, features, [self.tokens[verdict] for verdict in self.needs])

    def _render(self, turns: Sequence[str], generate: bool) -> str:
        return self.words.chat(chat_with_verdicts(turns, self.needs[0]), generate)


def chat_with_verdicts(turns: Sequence[str], good: str) -> list[dict[str, str]]:
    """The chat that waits for an answer to the last turn, all before it having got a ``good``."""
    messages: list[dict[str, str]] = []
    for turn in turns:
        messages.append({"role": "user", "content": turn})
        messages.append({"role": "assistant", "content": good})
    return messages[:-1]


QUESTION = "Is this step correct (Yes/No)?"


def questions(prompt: str, steps: Sequence[str], question: str = QUESTION) -> list[str]:
    """A turn a step, with the question; the problem before the first."""
    first, *rest = [f"{step}\n\n{question}" for step in steps]
    return [f"{prompt}\n\n{first}", *rest]


class Generative(RLHFlow):
    """Any chat model as a verifier: each step is shown and asked about, and answered yes or no.

    ``P(Yes) / (P(Yes) + P(No))`` where the answer is predicted; the steps before were answered Yes.

    Source: GenRM (Zhang et al. 2024, 2408.15240), whose direct verifier is asked "Is the answer
    correct (Yes/No)?" of whole solutions; here of each step.
    """

    separator = "\n"
    needs = ("Yes", "No")
    question = QUESTION

    def turns(self, prompt: str, steps: Sequence[str]) -> list[str]:
        """A step and the question each; the problem before the first."""
        return questions(prompt, steps, self.question)


class QwenMath(Format):
    """Qwen's chat, the answer being the steps with ``<extra_0>`` behind each.

    P(right) is the second of the two labels that a head of two layers gives at each ``<extra_0>``.

    Source: Zhang et al. 2025, 2501.07301; Qwen/Qwen2.5-Math-PRM-7B, model card and
    modeling_qwen2_rm.py.
    """

    separator = "\n\n"
    needs = ("<extra_0>",)
    system = "Please reason step by step, and put your final answer within \\boxed{}."

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The body and the checkpoint's ``score`` layers, without its code."""
        weights = tensors_under(path_or_id, "score.")
        wide, narrow = weights["0.weight"], weights["2.weight"]
        layers = nn.Sequential(
            nn.Linear(wide.shape[1], wide.shape[0]),
            nn.ReLU(),
            nn.Linear(narrow.shape[1], narrow.shape[0]),
        )
        return body_with_head(path_or_id, layers, weights, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The chat up to the last ``<extra_0>``."""
        messages = [
            {"role": "system", "content": self.system},
            {"role": "user", "content": prompt},
        ]
        if steps:
            answer = "".join(f"{step}<extra_0>" for step in steps)
            messages.append({"role": "assistant", "content": answer})
        text = self.words.chat(messages, generate=not steps)
        return self._at_tags(self.words.whole(text), "<extra_0>", steps)

    def right(self, features: Tensor) -> Tensor:
        """``softmax(head(hidden))[1]``."""
        return apply_head(self.model, features).float().softmax(dim=-1)[:, 1]


class Skywork(Format):
    r"""``[bos] problem \n`` and each step with its own newline; a value head, through a sigmoid.

    Every piece is tokenised by itself. Blank lines of a solution are no steps here; upstream scores
    them too.

    Source: SkyworkAI/skywork-o1-prm-inference, model_utils/.
    """

    needs = ("\n",)

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The body and the checkpoint's value head."""
        weights = tensors_under(path_or_id, "v_head.summary.")
        head = nn.Linear(weights["weight"].shape[1], 1)
        return body_with_head(path_or_id, head, weights, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """``bos + problem + newline``, then each step and a newline."""
        bos = self.tokenizer.bos_token or ""
        layout = EncodedSolution(list(self.tokenizer(f"{bos}{prompt}\n")["input_ids"]), [])
        for step in steps:
            layout.ids.extend([*self.words.ids(step), self.tokens["\n"]])
            layout.ends.append(len(layout.ids) - 1)
        return layout

    def right(self, features: Tensor) -> Tensor:
        """``sigmoid(v_head(hidden))``."""
        return apply_head(self.model, features).float().sigmoid()[:, 0]


class ReasonEval(Format):
    """A question and its steps, judged at each step's last token; labels wrong, neutral, right.

    The published script for the Mistral model reads one token earlier than that, and its printed
    scores do too; ``early=1`` reads there, and is what that model gets.

    Source: Xia et al. 2024, 2404.05692; GAIR-NLP/ReasonEval, codes/examples.py.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        early: int | None = None,
        **options: Any,
    ) -> None:
        super().__init__(model, tokenizer, **options)
        self.early = int(model.config.model_type == "mistral") if early is None else early

    @classmethod
    def load(cls, path_or_id: str | Path, **kwargs: Any) -> PreTrainedModel:
        """The body and the checkpoint's ``score_head``."""
        weights = tensors_under(path_or_id, "score_head.")
        shape = weights["weight"].shape
        head = nn.Linear(shape[1], shape[0], bias="bias" in weights)
        return body_with_head(path_or_id, head, weights, **kwargs)

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The text with a padding token before each step, which is then taken out."""
        tag = self.tokenizer.pad_token
        text = f"Question:\n{prompt}\nAnswer:\nLet's think step by step.\n"
        pieces = "".join(f"{tag}{step}" for step in steps)
        ids = list(self.tokenizer(text + pieces + (str(tag) if steps else ""))["input_ids"])
        kept, ends = [], []
        # A beginning of sequence that is also the padding token is no tag.
        special = self.tokenizer.bos_token_id == ids[0]
        for k, token in enumerate(ids):
            if token != self.tokenizer.pad_token_id or (special and k == 0):
                kept.append(token)
            else:
                ends.append(len(kept) - 1 - self.early)
        return EncodedSolution(kept, ends[1:])

    def right(self, features: Tensor) -> Tensor:
        """Validity: P(neutral) + P(right)."""
        return apply_head(self.model, features).float().softmax(dim=-1)[:, 1:].sum(dim=-1)


FORMATS: dict[str, type[Format]] = {
    "token-classification": TokenClassification,
    "math-shepherd": MathShepherd,
    "rlhflow": RLHFlow,
    "qwen-math": QwenMath,
    "skywork": Skywork,
    "reasoneval": ReasonEval,
    "generative": Generative,
}
# Of causal language models, whose configs do not say what they were trained for.
_NAMED = (
    ("shepherd", "math-shepherd"),
    ("skywork", "skywork"),
    ("rlhflow", "rlhflow"),
    ("-prm-deepseek-data", "rlhflow"),
    ("-prm-mistral-data", "rlhflow"),
)


def by_name(name: str) -> type[Format]:
    """The format of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in FORMATS:
        raise ValueError(f"got format={name!r}; allowed are {', '.join(FORMATS)}")
    return FORMATS[name]


def detect(path_or_id: str | Path, config: Any) -> str:
    """The format of a checkpoint: by its architecture, else by its name.

    Raises:
        ValueError: neither tells.
    """
    kinds = ", ".join(config.architectures or ["an unnamed architecture"])
    if "TokenClassification" in kinds:
        return "token-classification"
    if "ForProcessRewardModel" in kinds:
        return "qwen-math"
    if "ReasonEval" in kinds:
        return "reasoneval"
    name = str(path_or_id).lower()
    for part, found in _NAMED:
        if part in name:
            return found
    raise ValueError(
        f"got {kinds} in {path_or_id}, which does not say how it reads steps; pass format= one of "
        f"{', '.join(FORMATS)}"
    )


def _choice(model: PreTrainedModel, features: Tensor, tokens: Sequence[int]) -> Tensor:
    """P(first token) among the tokens, (k,): only those rows of the output matrix are used."""
    weight, bias = output_layer(model)
    logits = features.to(weight.device) @ weight[list(tokens)].T
    if bias is not None:
        logits = logits + bias[list(tokens)]
    return logits.float().softmax(dim=-1)[:, 0]
