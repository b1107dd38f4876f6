"""Texts, chats and solutions as the inputs of a model: token ids, padding, positions, device."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.messages import Prompt
from reason_decode.models.chat_template import render_chat

__all__ = [
    "CachedTokenizer",
    "EncodedSolution",
    "check_batch_tokens",
    "check_loaded",
    "check_prompts",
    "decode",
    "encode_prompts",
    "input_device",
    "learned_positions",
    "max_positions",
    "pad_rows",
    "special_ids",
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
        model: the model; ``None``: it is not here, and its vocabulary is not compared.

    Attributes:
        system: the system turn of every chat; ``None``: the chat's own, if it has one.
        chat_template_kwargs: further arguments of the chat template.

    Raises:
        ValueError: the model or the tokenizer is none, or the model's vocabulary is smaller than
            the tokenizer's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel | None) -> None:
        if model is not None:
            check_loaded(model, tokenizer)
            embeddings: Any = model.get_input_embeddings()  # typed as any module: without a size
            if len(tokenizer) > embeddings.num_embeddings:
                raise ValueError(
                    f"the tokenizer has {len(tokenizer)} tokens, the model only "
                    f"{embeddings.num_embeddings}; pass the tokenizer that belongs to it"
                )
        self.tokenizer = tokenizer
        self.system: str | None = None
        self.chat_template_kwargs: Mapping[str, Any] = {}
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

    def encode_to_ends(self, text: str, ends: Sequence[int]) -> EncodedSolution:
        """A text with its special tokens as ids, each span being the token that ends at a place.

        What follows the last of these tokens is left out.

        Args:
            text: the text, encoded as a whole.
            ends: offsets in the text, in characters, ascending; without any, the ids are all.

        Raises:
            ValueError: the tokenizer gives no character offsets.
        """
        if not self.tokenizer.is_fast:
            raise ValueError(
                f"got {type(self.tokenizer).__name__}, which gives no character offsets of its "
                "tokens; load a fast tokenizer, one with a tokenizer.json"
            )
        read = self.tokenizer(text, return_offsets_mapping=True)
        # A special token has the offsets (0, 0); one at the end of the text comes after all places.
        token_ends = list(accumulate((end for _, end in read["offset_mapping"]), max))
        positions = [bisect_left(token_ends, end) for end in ends]
        return EncodedSolution(read["input_ids"][: positions[-1] + 1 if ends else None], positions)

    def render_chat(self, messages: Sequence[Mapping[str, str]], generate: bool) -> str:
        """A conversation as text, by the tokenizer's chat template.

        Args:
            messages: dicts with ``role`` and ``content``.
            generate: whether to append the beginning of the assistant's answer.

        Raises:
            ValueError: the template refuses the messages, or leaves out one of them.
        """
        if self.system is not None:
            rest = messages[1:] if messages[0]["role"] == "system" else messages
            messages = [{"role": "system", "content": self.system}, *rest]
        return render_chat(self.tokenizer, messages, generate=generate, **self.chat_template_kwargs)


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


def encode_prompts(
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Prompt],
    *,
    chat_template_kwargs: Mapping[str, Any] | None = None,
) -> dict[str, Tensor]:
    """``input_ids`` and ``attention_mask``, (b, t) int64, of prompts that are padded on the left.

    A text gets the special tokens that its tokenizer adds; a conversation has those of its
    template.

    Args:
        tokenizer: the generator's tokenizer.
        prompts: b texts or conversations.
        chat_template_kwargs: further arguments of the chat template.

    Raises:
        ValueError: a conversation cannot be rendered, see ``render_chat``.
    """
    rows: list[list[int]] = []
    for prompt in prompts:
        if isinstance(prompt, str):
            rows.append(tokenizer(prompt)["input_ids"])
        else:
            text = render_chat(tokenizer, prompt, **(chat_template_kwargs or {}))
            rows.append(tokenizer(text, add_special_tokens=False)["input_ids"])
    ids = (tokenizer.pad_token_id, tokenizer.eos_token_id)
    padding = next((x for x in ids if isinstance(x, int)), 0)
    input_ids, attention_mask = pad_rows(rows, side="left", value=padding)
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def decode(
    tokenizer: PreTrainedTokenizerBase, ids: Tensor, kept: frozenset[int] = frozenset()
) -> str:
    """Token ids as text, without special tokens.

    Args:
        tokenizer: the tokenizer of the model that wrote them.
        ids: (t,) int64.
        kept: ids of special tokens that stay, see ``special_ids``.
    """
    if kept:
        left_out = set(tokenizer.all_special_ids) - kept
        ids = ids[[k not in left_out for k in ids.tolist()]]
    text = tokenizer.decode(ids, skip_special_tokens=not kept)
    assert isinstance(text, str)
    return text


def special_ids(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> frozenset[int]:
    """Ids of the special tokens in texts, such as the tags of a thought."""
    found = {k for text in texts for k in tokenizer.encode(text, add_special_tokens=False)}
    return frozenset(found & set(tokenizer.all_special_ids))


def pad_rows(
    rows: Sequence[Sequence[int] | Tensor], *, side: Literal["left", "right"], value: int = 0
) -> tuple[Tensor, Tensor]:
    """Rows of integers as a rectangular batch, with a mask of the entries that are not padding.

    With ``t`` the longest row's length, a row of length n fills the columns ``[0, n)`` if padded on
    the right, and ``[t - n, t)`` if padded on the left.

    Args:
        rows: at least one row; each a sequence of integers or an integer tensor (n,).
        side: the side to pad on: ``"left"`` for ``generate``, ``"right"`` for scoring or training.
        value: the padding value: a token id, or a label such as -100 that losses ignore.

    Returns:
        ``ids`` (b, t) int64 and ``mask`` (b, t) int64, 1 at the rows' entries and 0 at padding; on
        the device of the rows, the CPU for rows that are no tensors.

    Raises:
        ValueError: there are no rows.

    Examples:
        >>> pad_rows([[5, 6, 7], [8]], side="left")
        (tensor([[5, 6, 7],
                [0, 0, 8]]), tensor([[1, 1, 1],
                [0, 0, 1]]))
    """
    if not rows:
        raise ValueError("got no rows to pad; pass at least one")
    tensors = [torch.as_tensor(row, dtype=torch.long) for row in rows]
    ids = pad_sequence(tensors, batch_first=True, padding_value=value, padding_side=side)
    lengths = torch.tensor([len(row) for row in tensors], device=ids.device)[:, None]
    columns = torch.arange(ids.shape[1], device=ids.device)
    filled = columns < lengths if side == "right" else columns >= ids.shape[1] - lengths
    return ids, filled.long()


def max_positions(model: PreTrainedModel) -> int | None:
    """Longest sequence in tokens that a model was made for, or ``None`` if its config names none.

    This is ``max_position_embeddings`` of the text config. A model with rotary positions also reads
    longer sequences, though its outputs there mean little; a model with a table of learned
    positions cannot (``learned_positions``).
    """
    return getattr(model.config.get_text_config(), "max_position_embeddings", None)


def learned_positions(model: PreTrainedModel) -> int | None:
    """Size of a model's table of learned positions, or ``None`` if it computes its positions.

    A position past the end of such a table (GPT-2, OPT) is an index error in the forward pass.
    """
    size = max_positions(model)
    tokens: Any = model.get_input_embeddings()
    tables = (x for x in model.modules() if isinstance(x, torch.nn.Embedding) and x is not tokens)
    # OPT's table has two more rows than positions.
    has_table = size is not None and any(size <= x.num_embeddings <= size + 2 for x in tables)
    return size if has_table else None


def input_device(model: Any) -> torch.device:
    """The device on which a model expects its input ids.

    A model whose first layer is offloaded (accelerate) has parameters on the meta device between
    calls; its hooks take inputs from the CPU.
    """
    device = torch.device(model.device)
    return torch.device("cpu") if device.type == "meta" else device


def check_prompts(
    strategy_name: str, model: PreTrainedModel, input_ids: Tensor, mask: Any, max_length: int
) -> None:
    """Raise unless a model can continue each prompt up to a length.

    The forward pass would fail late: with an index error on a CPU, with an assertion that ends the
    process on a GPU.

    Args:
        strategy_name: the strategy's class name, for error messages.
        model: the generator.
        input_ids: (b, t) int64, padded on the left.
        mask: (b, t), 1 at tokens and 0 at padding; ``None`` if there is no padding.
        max_length: largest number of tokens of a prompt with its continuation.

    Raises:
        ValueError: no tokens, ids outside the vocabulary, padding that is not on the left, or a
            continuation longer than the model's table of positions.
    """
    _check_ids(strategy_name, model, input_ids)
    _check_mask(strategy_name, input_ids, mask)
    _check_length(strategy_name, model, input_ids, max_length)


def _check_ids(strategy_name: str, model: PreTrainedModel, input_ids: Tensor) -> None:
    """Raise unless the prompts hold tokens, all of them in the model's vocabulary."""
    if input_ids.dim() != 2 or not input_ids.numel():
        raise ValueError(
            f"{strategy_name} got input_ids of shape {tuple(input_ids.shape)}; pass at least one "
            "prompt with at least one token, of shape (prompts, tokens)"
        )
    if input_ids.is_floating_point():
        raise ValueError(
            f"{strategy_name} got input_ids of {input_ids.dtype}; pass whole numbers (int64)"
        )
    config: Any = model.config.get_text_config()
    vocabulary = getattr(config, "vocab_size", None)
    least, most = (int(x) for x in input_ids.aminmax())
    if least < 0 or (vocabulary is not None and most >= vocabulary):
        raise ValueError(
            f"{strategy_name} got the token ids {least} to {most} in input_ids; "
            f"{type(model).__name__} has {vocabulary} tokens, from 0: tokenize with the model's "
            "own tokenizer"
        )


def _check_mask(strategy_name: str, input_ids: Tensor, mask: Any) -> None:
    """Raise unless every prompt has tokens, with padding on their left only."""
    if not isinstance(mask, Tensor):
        return
    if mask.shape != input_ids.shape:
        raise ValueError(
            f"{strategy_name} got an attention_mask of shape {tuple(mask.shape)} for input_ids of "
            f"{tuple(input_ids.shape)}; pass one entry for each token, as the tokenizer returns it"
        )
    if empty := (~mask.bool().any(dim=1)).nonzero().flatten().tolist():
        raise ValueError(
            f"{strategy_name} got an attention_mask without a 1 in row {empty[0]}; every prompt "
            "needs a token"
        )
    # A 1 followed by a 0 is right padding or a hole.
    if bool((mask[:, 1:] < mask[:, :-1]).any()):
        raise ValueError(
            f"{strategy_name} got prompts with padding after or between their tokens; prompts are "
            "continued at their right end: pad on the left (padding_side='left')"
        )


def _check_length(
    strategy_name: str, model: PreTrainedModel, input_ids: Tensor, max_length: int
) -> None:
    """Raise if the longest continuation is longer than the model's table of positions."""
    positions, width = learned_positions(model), input_ids.shape[1]
    if positions is not None and max_length > positions:
        raise ValueError(
            f"{strategy_name} was asked for up to {max_length - width} tokens after "
            f"{width}; {type(model).__name__} has a table of {positions} positions only: pass "
            f"max_new_tokens of at most {max(positions - width, 0)}, or shorter prompts"
        )
