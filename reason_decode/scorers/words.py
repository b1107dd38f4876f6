"""A reward model's tokenizer, as every layout needs it."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.scorers.reading import Layout


class Words:
    """Text as token ids, each piece tokenised by itself and remembered.

    Args:
        tokenizer: the reward model's own; it need not be the generator's, text is the common
            ground.
        model: the reward model.

    Raises:
        ValueError: the model's vocabulary is smaller than the tokenizer's.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel) -> None:
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

    def plain(self, prompt: str, steps: Sequence[str], separator: str) -> Layout:
        """``[bos] prompt (step separator)*``, each step judged where its separator ends."""
        bos = self.tokenizer.bos_token_id
        layout = Layout([*([bos] if isinstance(bos, int) else []), *self.ids(prompt)], [])
        for step in steps:
            layout.ids.extend([*self.ids(step), *self.ids(separator)])
            layout.ends.append(len(layout.ids) - 1)
        return layout

    def chat(self, turns: Sequence[Mapping[str, str]], generate: bool) -> str:
        """A conversation in the tokenizer's template, with an answer's opening if asked for."""
        text = self.tokenizer.apply_chat_template(
            [dict(turn) for turn in turns], tokenize=False, add_generation_prompt=generate
        )
        assert isinstance(text, str)
        return text
