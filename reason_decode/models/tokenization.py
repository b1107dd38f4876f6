"""Texts, chats and solutions as token ids of a model's own tokenizer."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

__all__ = [
    "CachedTokenizer",
    "EncodedSolution",
    "check_batch_tokens",
    "check_loaded",
    "decode",
]


class EncodedSolution(NamedTuple):
    """A prompt with its first steps as token ids, and the spans of them that are scored.

    Attributes:
        ids: the token ids.
        score_positions: index of the last token of each scored span, ascending.
        span_starts: index of the first token of each span; ``None``: each span is one token.
        position_ids: position of each token; ``None``: 0, 1, 2, ...
    """

    ids: list[int]
    score_positions: list[int]
    span_starts: list[int] | None = None
    position_ids: list[int] | None = None

    @property
    def spans(self) -> list[range]:
        """The token indices of each scored span."""
        starts = self.score_positions if self.span_starts is None else self.span_starts
        return [
            range(start, end + 1) for start, end in zip(starts, self.score_positions, strict=True)
        ]


class CachedTokenizer:
    """A model's tokenizer that remembers the ids of the texts it has seen last.

    Args:
        tokenizer: the tokenizer of ``model``.
        model: the model.

    Raises:
        ValueError: the model or the tokenizer is none, or the model's vocabulary is smaller than
            the tokenizer's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
        check_loaded(model, tokenizer)
        embeddings: Any = model.get_input_embeddings()  # typed as any module, which has no size
        if len(tokenizer) > embeddings.num_embeddings:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the model only "
                f"{embeddings.num_embeddings}; pass the tokenizer that belongs to it"
            )
        self.tokenizer = tokenizer
        # A step is encoded again with each of its continuations.
        self.encode_cached = lru_cache(maxsize=1 << 14)(self.encode)

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of a text, without special tokens; for texts that do not come back."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def token_id(self, text: str) -> int:
        """The last id of a text that is encoded alone.

        Raises:
            ValueError: the tokenizer has no token for the text.
        """
        ids = self.encode_cached(text)
        if not ids or ids[-1] == self.tokenizer.unk_token_id:
            raise ValueError(
                f"the tokenizer has no token for {text!r}, which marks verdicts in this model's "
                "format; pass the reward model's own tokenizer"
            )
        return ids[-1]

    def encode_plain(self, prompt: str, steps: Sequence[str], separator: str) -> EncodedSolution:
        """``[bos] prompt (step separator)*``, each piece encoded alone.

        Each step is scored at the last token of its separator.
        """
        bos = self.tokenizer.bos_token_id
        ids = [*([bos] if isinstance(bos, int) else []), *self.encode_cached(prompt)]
        score_positions: list[int] = []
        for step in steps:
            ids += [*self.encode_cached(step), *self.encode_cached(separator)]
            score_positions.append(len(ids) - 1)
        return EncodedSolution(ids, score_positions)

    def render_chat(self, messages: Sequence[Mapping[str, str]], generate: bool) -> str:
        """A conversation as text, by the tokenizer's chat template.

        Args:
            messages: dicts with ``role`` and ``content``.
            generate: whether to append the beginning of the assistant's answer.

        Raises:
            ValueError: the template refuses the messages, or leaves out one of them.
        """
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(message) for message in messages],
                tokenize=False,
                add_generation_prompt=generate,
            )
        except TemplateError as error:
            roles = ", ".join(message["role"] for message in messages)
            raise ValueError(
                f"the tokenizer's chat template refuses the turns {roles} ({error}); pass the "
                "tokenizer that belongs to the model, repair tokenizer.chat_template, or score "
                "plain text (chat=False, where there is the choice)"
            ) from error
        assert isinstance(text, str)
        _check_complete(text, messages)
        return text


def check_loaded(model: object, tokenizer: object) -> None:
    """Raise unless these are a decoder-only model and a tokenizer.

    Raises:
        ValueError: they are something else, such as the names they could be loaded by.
    """
    if not hasattr(model, "get_input_embeddings"):
        raise ValueError(
            f"got {model!r:.80} as the model; pass a loaded one, or load both by from_pretrained"
        )
    if not callable(tokenizer) or not hasattr(tokenizer, "decode"):
        raise ValueError(
            f"got {tokenizer!r:.80} as the tokenizer; pass a loaded one: "
            "AutoTokenizer.from_pretrained(...)"
        )
    config = getattr(model, "config", None)
    # The config of an encoder that was taken out of such a model says so, too; a ranker reads it.
    if getattr(config, "is_encoder_decoder", False) and hasattr(model, "decoder"):
        raise ValueError(
            f"got {type(model).__name__}, an encoder-decoder; pass a decoder-only model"
        )


def check_batch_tokens(batch_tokens: int) -> None:
    """Raise unless this is a whole number of at least 1.

    Raises:
        ValueError: it is none.
    """
    if not isinstance(batch_tokens, int) or batch_tokens < 1:
        raise ValueError(f"got batch_tokens={batch_tokens!r}; pass a whole number of at least 1")


def _check_complete(text: str, messages: Sequence[Mapping[str, str]]) -> None:
    """Raise if a template left a message out: the score would be that of another text.

    Templates may trim messages, and remove the thinking before an answer, so only the last line of
    each has to be there.
    """
    for message in messages:
        lines = message["content"].rpartition("</think>")[2].strip().splitlines()
        if lines and lines[-1].strip() not in text:
            raise ValueError(
                f"the tokenizer's chat template drops or changes the {message['role']}'s turn "
                f"{message['content'][:60]!r}; pass the tokenizer that belongs to the model, or "
                "repair tokenizer.chat_template"
            )


def decode(tokenizer: PreTrainedTokenizerBase, ids: Tensor) -> str:
    """Token ids as text, without special tokens."""
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert isinstance(text, str)
    return text
