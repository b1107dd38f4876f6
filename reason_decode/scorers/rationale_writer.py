"""The model that writes rationales while a solution is decoded."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.splitting import Splitting
from reason_decode.core.tags import TAGS, Tags
from reason_decode.generation.cache import crop_row, stack_rows
from reason_decode.models.inputs import EncodedSolution, input_device, pad_rows
from reason_decode.scorers.causal import PrefixState
from reason_decode.scorers.causal_reader import CausalReader
from reason_decode.scorers.likelihood import SpanEncoder

__all__ = ["RationaleWriter", "trajectory_text"]

# Length of a rationale if neither the caller nor the model's generation config says it.
_MAX_NEW_TOKENS = 64


class RationaleWriter(CausalReader):
    """Writes a rationale for the next step of a trajectory, by greedy decoding.

    In a chat the trajectory is the user's message and the rationale the assistant's, as RATIONALYST
    was trained. Without one, the opening tag follows the trajectory, and the rationale ends at the
    closing tag.

    Args:
        model: the rationale model, a causal language model.
        tokenizer: the tokenizer of ``model``.
        separator: the text after each step in the model's input; ``None``: what joins the steps of
            ``splitter``, or a newline.
        splitter: where a solution's text is split into steps; ``None``: at ``separator``.
        chat: whether to use the chat template; ``None``: if there is one.
        tags: the tags before and after a rationale.
        max_new_tokens: length of a rationale; ``None``: that of the model's ``generation_config``,
            or 64.
        batch_tokens: largest number of tokens in one forward pass, padding included.

    Source: Jiang et al. 2024, 2410.01044, section 3.3.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str | None = None,
        splitter: Splitting | None = None,
        chat: bool | None = None,
        tags: Tags = TAGS,
        max_new_tokens: int | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        super().__init__(model, tokenizer, separator, chat, batch_tokens, splitter)
        self.tags = tags
        self.span_encoder = SpanEncoder(tokenizer, self.chat)
        own = model.generation_config or GenerationConfig()
        self.generation_config = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens or own.max_new_tokens or _MAX_NEW_TOKENS,
            eos_token_id=own.eos_token_id,
            pad_token_id=own.pad_token_id if own.pad_token_id is not None else 0,
            bos_token_id=own.bos_token_id,
            stop_strings=None if self.chat else [tags.closing],
        )

    @property
    def max_new_tokens(self) -> int:
        """Largest number of tokens of a rationale."""
        return self.generation_config.max_new_tokens or 0

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The trajectory as ids, ready to be continued by a rationale; nothing is scored."""
        text = trajectory_text(prompt, steps, self.separator)
        if self.chat:
            message = {"role": "user", "content": text}
            text = self.cached_tokenizer.render_chat([message], generate=True)
        else:
            text += self.tags.opening
        return self.span_encoder.encode(text, ())

    def forward(self, **inputs: Any) -> Tensor:
        """The ids as features, (b, t, 1), for nothing is scored; reading them fills the cache."""
        self.model.base_model(**inputs)
        return inputs["input_ids"][..., None]

    def write(self, states: Sequence[PrefixState]) -> tuple[list[str], int]:
        """The rationales of trajectories, and the number of tokens that they took.

        Args:
            states: the trajectories as this model has read them, at least one.
        """
        rationales: list[str] = []
        count = 0
        longest = max(len(state.encoded.ids) for state in states) + self.max_new_tokens
        size = max(1, self.batch_tokens // longest)
        for start in range(0, len(states), size):
            texts, tokens = self._write_batch(states[start : start + size])
            rationales += texts
            count += tokens
        return rationales, count

    @torch.no_grad()
    def _write_batch(self, states: Sequence[PrefixState]) -> tuple[list[str], int]:
        ids, mask = pad_rows([state.encoded.ids for state in states], side="left")
        # generate() reads the last token of each row itself, so the caches end before it.
        caches = [
            crop_row(state.cache, len(state.encoded.ids) - 1)
            for state in states
            if state.cache is not None
        ]
        device = input_device(self.model)
        model: Any = self.model  # typed without the generation methods that it has
        written = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            past_key_values=stack_rows(caches, self.model.config) if caches else None,
            generation_config=self.generation_config,
            tokenizer=self.tokenizer,
        )[:, ids.shape[1] :]
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        rationales = [text.partition(self.tags.closing)[0].strip() for text in texts]
        read = 0 if caches else int(mask.sum())
        return rationales, read + int((written != self.generation_config.pad_token_id).sum())


def trajectory_text(prompt: str, steps: Sequence[str], separator: str) -> str:
    """``prompt (step separator)*`` as text."""
    return prompt + "".join(f"{step}{separator}" for step in steps)
