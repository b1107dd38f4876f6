"""A reward model's tokenizer, as every layout needs it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase


class EncodedSolution(NamedTuple):
    """A trajectory as token ids, and the places where it is judged.

    Each judgement ends at a place; it begins there too, unless ``starts`` says where. The tokens'
    positions are consecutive, unless an encoder's layout says otherwise.
    """

    ids: list[int]
    ends: list[int]
    starts: list[int] | None = None
    positions: list[int] | None = None

    @property
    def spans(self) -> list[range]:
        """The places of each judgement."""
        starts = self.ends if self.starts is None else self.starts
        return [range(start, end + 1) for start, end in zip(starts, self.ends, strict=True)]


class CachedTokenizer:
    """Text as token ids, each piece tokenised by itself and remembered.

    Args:
        tokenizer: the reward model's own; it need not be the generator's, text is the common
            ground.
        model: the reward model.

    Raises:
        ValueError: the model or the tokenizer is none, or the model's vocabulary is smaller than
            the tokenizer's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
        check_loaded(model, tokenizer)
        embeddings: Any = model.get_input_embeddings()  # typed as any module, which has no size
        if len(tokenizer) > embeddings.num_embeddings:
            raise ValueError(
                f"the tokenizer has {len(tokenizer)} tokens, the reward model only "
                f"{embeddings.num_embeddings}; pass the tokenizer that belongs to it"
            )
        self.tokenizer = tokenizer
        # Steps come back with every continuation of theirs.
        self.ids = lru_cache(maxsize=1 << 14)(self.whole)

    def whole(self, text: str) -> tuple[int, ...]:
        """The ids of a text that is not worth remembering, such as a whole conversation."""
        return tuple(self.tokenizer(text, add_special_tokens=False)["input_ids"])

    def token(self, text: str) -> int:
        """The id in which a text ends when it is tokenised by itself.

        Raises:
            ValueError: the tokenizer does not know the text.
        """
        ids = self.ids(text)
        if not ids or ids[-1] == self.tokenizer.unk_token_id:
            raise ValueError(
                f"the tokenizer has no token for {text!r}, which marks verdicts in this model's "
                "format; pass the reward model's own tokenizer"
            )
        return ids[-1]

    def plain(self, prompt: str, steps: Sequence[str], separator: str) -> EncodedSolution:
        """``[bos] prompt (step separator)*``, each step judged where its separator ends."""
        bos = self.tokenizer.bos_token_id
        layout = EncodedSolution([*([bos] if isinstance(bos, int) else []), *self.ids(prompt)], [])
        for step in steps:
            layout.ids.extend([*self.ids(step), *self.ids(separator)])
            layout.ends.append(len(layout.ids) - 1)
        return layout

    def chat(self, turns: Sequence[Mapping[str, str]], generate: bool) -> str:
        """A conversation in the tokenizer's template, with an answer's opening if asked for."""
        try:
            text = self.tokenizer.apply_chat_template(
                [dict(turn) for turn in turns], tokenize=False, add_generation_prompt=generate
            )
        except TemplateError as error:
            roles = ", ".join(turn["role"] for turn in turns)
            raise ValueError(
                f"the tokenizer's chat template refuses the turns {roles} ({error}); pass the "
                "tokenizer that belongs to the model, mend tokenizer.chat_template, or score plain "
                "text (chat=False, where there is the choice)"
            ) from error
        assert isinstance(text, str)
        _check_told(text, turns)
        return text


def check_loaded(model: object, tokenizer: object) -> None:
    """Raise unless these are a decoder-only model and a tokenizer.

    Raises:
        ValueError: they are not, but, say, what they could be loaded from.
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
    # An encoder taken from such a model still says so, and is one that a ranker reads with.
    if getattr(config, "is_encoder_decoder", False) and hasattr(model, "decoder"):
        raise ValueError(f"got {type(model).__name__}; scorers read with decoder-only models")


def check_batch(batch_tokens: int) -> None:
    """Raise unless forward passes may have tokens.

    Raises:
        ValueError: they may not.
    """
    if not isinstance(batch_tokens, int) or batch_tokens < 1:
        raise ValueError(f"got batch_tokens={batch_tokens!r}; pass a whole number of at least 1")


def _check_told(text: str, turns: Sequence[Mapping[str, str]]) -> None:
    """Raise if a template left a turn out, whose score would be that of something else.

    Templates may trim turns, and take the thinking before an answer away: the last line has to be
    there.
    """
    for turn in turns:
        lines = turn["content"].rpartition("</think>")[2].strip().splitlines()
        if lines and lines[-1].strip() not in text:
            raise ValueError(
                f"the tokenizer's chat template drops or changes the {turn['role']}'s turn "
                f"{turn['content'][:60]!r}; pass the tokenizer that belongs to the model, or mend "
                "tokenizer.chat_template"
            )


def decode(tokenizer: PreTrainedTokenizerBase, ids: Tensor) -> str:
    """Token ids as text, without special tokens."""
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert isinstance(text, str)
    return text
