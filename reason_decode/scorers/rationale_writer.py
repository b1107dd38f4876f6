"""The model that writes rationales, and how they stand in a text."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.tags import TAGS, Tags
from reason_decode.generation.cache import crop_row, stack_rows
from reason_decode.models.devices import input_device
from reason_decode.scorers.cached_session import EncodedSolution, Read
from reason_decode.scorers.causal import Reader
from reason_decode.scorers.likelihood import Text

# Of a rationale, where nobody says how many.
_TOKENS = 64


class Rationale(str):
    """A rationale in a list of steps; only one at the end or right before the last step is read."""

    __slots__ = ()


class RationaleWriter(Reader):
    """Writes the rationale of what comes next in a trajectory, by greedy decoding.

    In a chat the trajectory is a user's turn and the rationale the assistant's, as RATIONALYST was
    trained; else the opening tag is put behind the trajectory, and the rationale goes on up to the
    closing tag.

    Args:
        model: the rationale model, a causal language model.
        tokenizer: its own.
        separator: what ends a step in a solution.
        chat: whether to use the chat template; ``None``: if there is one.
        tags: what stands around a rationale.
        max_new_tokens: of a rationale; ``None``: as many as the model's ``generation_config`` says,
            or 64.
        batch_tokens: at most this many tokens, padding included, go through one forward pass.

    Source: Jiang et al. 2024, 2410.01044, section 3.3.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        separator: str = "\n",
        chat: bool | None = None,
        tags: Tags = TAGS,
        max_new_tokens: int | None = None,
        batch_tokens: int = 16_384,
    ) -> None:
        super().__init__(model, tokenizer, separator, chat, batch_tokens)
        self.tags = tags
        self.text = Text(tokenizer, self.chat)
        own = model.generation_config or GenerationConfig()
        self.how = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens or own.max_new_tokens or _TOKENS,
            eos_token_id=own.eos_token_id,
            pad_token_id=own.pad_token_id if own.pad_token_id is not None else 0,
            bos_token_id=own.bos_token_id,
            stop_strings=None if self.chat else [tags.closing],
        )

    def encode(self, prompt: str, steps: Sequence[str]) -> EncodedSolution:
        """The trajectory, ready to be continued by a rationale; nothing is judged."""
        text = trajectory_text(prompt, steps, self.splitter.separator)
        if self.chat:
            text = self.words.chat([{"role": "user", "content": text}], generate=True)
        else:
            text += self.tags.opening
        return self.text.encode(text, ())

    def write(self, reads: Sequence[Read]) -> tuple[list[str], int]:
        """The rationales of trajectories that were read, and how many tokens they took."""
        rationales: list[str] = []
        count = 0
        longest = max(len(read.layout.ids) for read in reads) + (self.how.max_new_tokens or 0)
        size = max(1, self.batch_tokens // longest)
        for start in range(0, len(reads), size):
            texts, tokens = self._write(reads[start : start + size])
            rationales += texts
            count += tokens
        return rationales, count

    @torch.no_grad()
    def _write(self, reads: Sequence[Read]) -> tuple[list[str], int]:
        ids = [read.layout.ids for read in reads]
        width = max(map(len, ids))
        padded = torch.zeros(len(ids), width, dtype=torch.long)
        mask = torch.zeros(len(ids), width, dtype=torch.long)
        for k, row in enumerate(ids):
            padded[k, width - len(row) :] = torch.tensor(row)
            mask[k, width - len(row) :] = 1
        # generate() has to be left the last token of each row to read.
        pasts = [
            crop_row(read.cache, len(row) - 1)
            for read, row in zip(reads, ids, strict=True)
            if read.cache is not None
        ]
        device = input_device(self.model)
        model: Any = self.model  # typed without the generation methods that it has
        written = model.generate(
            input_ids=padded.to(device),
            attention_mask=mask.to(device),
            past_key_values=stack_rows(pasts, self.model.config),
            generation_config=self.how,
            tokenizer=self.tokenizer,
        )[:, width:]
        texts = self.tokenizer.batch_decode(written, skip_special_tokens=True)
        rationales = [text.partition(self.tags.closing)[0].strip() for text in texts]
        return rationales, int((written != self.how.pad_token_id).sum())


def without_rationales(steps: Sequence[str]) -> list[str]:
    """The steps alone."""
    return [step for step in steps if not isinstance(step, Rationale)]


def trajectory_text(prompt: str, steps: Sequence[str], separator: str) -> str:
    """Prompt and steps as text, without rationales."""
    return prompt + "".join(f"{step}{separator}" for step in without_rationales(steps))
