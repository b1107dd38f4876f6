"""Rationales put into documents by a chat model."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.tags import TAGS, Tags
from reason_decode.io.oom import Failed, by_halves
from reason_decode.io.openai_client import Messages, RequestFailed
from reason_decode.mining.documents import AnnotatedDocument, Document, Dropped, parse_marked
from reason_decode.mining.prompt import messages
from reason_decode.models.devices import input_device

__all__ = ["ChatModel", "Complete", "extract", "given"]


# Answers to chats, in their order; it may take chats ahead of what it has answered.
Complete = Callable[[Iterable[Messages]], Iterator[str | RequestFailed]]


def extract(
    documents: Iterable[Document],
    complete: Complete,
    *,
    domain: str | Mapping[str, str] = "general",
    tags: Tags = TAGS,
) -> Iterator[AnnotatedDocument | Dropped]:
    """Each document with the rationales that a chat model put into it.

    What cannot be read is set aside as malformed: no rationale, or tags that do not pair.

    Args:
        documents: any number; read as the model asks for more.
        complete: a ``ChatModel``, an ``Endpoint``, or any function of chats.
        domain: of the worked examples that it is shown; see ``messages``.
        tags: what it puts around rationales.

    Raises:
        ValueError: there is no such domain.

    Source: RATIONALYST, section 3 (arXiv 2410.01044), with a prompt of our own.

    Example:
        >>> from reason_decode.mining import Document, extract
        >>> say = lambda chats: ("2 + 3<BOT>Add them.<EOT> is 5." for _ in chats)
        >>> [x.rationales for x in extract([Document("1", "web", "2 + 3 is 5.")], say)]
        [('Add them.',)]
    """
    asked: deque[Document | Dropped] = deque()

    def chats() -> Iterator[Messages]:
        for document in documents:
            if tags.opening in document.text or tags.closing in document.text:
                reason = "the text has tags of its own"
                asked.append(Dropped(document, "extract", reason))
            else:
                asked.append(document)
                yield messages(document, domain, tags)

    for answer in complete(chats()):
        yield from _without_answer(asked)
        document = asked.popleft()
        assert isinstance(document, Document)
        if isinstance(answer, RequestFailed):
            yield Dropped(document, "extract", answer.reason, answer.again)
        else:
            yield _marked(document, answer, tags)
    yield from _without_answer(asked)


def given(
    documents: Iterable[Document], *, tags: Tags = TAGS
) -> Iterator[AnnotatedDocument | Dropped]:
    """Documents whose text has rationales between tags already.

    Args:
        documents: any number.
        tags: what stands around a rationale.

    Example:
        >>> from reason_decode.mining import Document, given
        >>> [x.texts for x in given([Document("1", "web", "2 + 3<BOT>Add.<EOT> is 5.")])]
        [('2 + 3', ' is 5.')]
    """
    for document in documents:
        marked = _marked(document, document.text, tags)
        if isinstance(marked, AnnotatedDocument):
            bare = replace(document, text="".join(marked.texts))
            marked = replace(marked, document=bare)
        yield marked


def _without_answer(asked: deque[Document | Dropped]) -> Iterator[Dropped]:
    """Takes what was never asked off the front."""
    while asked and isinstance(front := asked[0], Dropped):
        asked.popleft()
        yield front


def _marked(document: Document, text: str, tags: Tags) -> AnnotatedDocument | Dropped:
    marked, unclosed = parse_marked(document.id, document.source, text, tags)
    stray = sum(piece.count(tags.closing) for piece in marked.texts)
    if unclosed or stray:
        reason = f"malformed tags: {unclosed} never closed, {stray} never opened"
        return Dropped(document, "extract", reason)
    if not marked.rationales:
        return Dropped(document, "extract", "no rationale was put in")
    return replace(marked, document=document)


class ChatModel:
    """Completes chats by greedy decoding with a model in this process.

    Args:
        model: a causal language model.
        tokenizer: its own, with a chat template.
        max_new_tokens: of an answer, which repeats the document; what is cut off is set aside.
        batch: chats to a call of ``generate``.

    Raises:
        ValueError: the tokenizer has no chat template.

    Example:
        >>> from copy import copy
        >>> from reason_decode import tiny
        >>> from reason_decode.mining import ChatModel
        >>> models = tiny.load()
        >>> tokenizer = copy(models.tokenizer)
        >>> tokenizer.chat_template = "{{ messages[-1]['content'] }}"
        >>> complete = ChatModel(models.model, tokenizer, max_new_tokens=2)
        >>> list(complete([[{"role": "user", "content": "Make 24 from 4 6."}]]))
        [RequestFailed(reason='cut off: the answer has more than 2 tokens', again=False)]
    """

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        *,
        max_new_tokens: int = 4096,
        batch: int = 8,
    ) -> None:
        if not tokenizer.chat_template:
            raise ValueError(
                f"got {type(tokenizer).__name__} without a chat template; take a chat model, or "
                "set tokenizer.chat_template"
            )
        own = model.generation_config or GenerationConfig()
        ends = own.eos_token_id if own.eos_token_id is not None else tokenizer.eos_token_id
        self.ends = {ends} if isinstance(ends, int) else set(ends or ())
        self.how = GenerationConfig(
            do_sample=False,
            max_new_tokens=max_new_tokens,
            eos_token_id=sorted(self.ends) or None,
            pad_token_id=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else 0,
        )
        self.model, self.tokenizer, self.batch = model, tokenizer, batch

    def __call__(self, chats: Iterable[Messages]) -> Iterator[str | RequestFailed]:
        """The answers, in order."""
        waiting = iter(chats)
        while group := list(islice(waiting, self.batch)):
            ids = [self._ids(chat) for chat in group]
            room = getattr(self.model.config.get_text_config(), "max_position_embeddings", None)
            long = [room is not None and len(row) >= room for row in ids]
            answers = self._answers([row for row, over in zip(ids, long, strict=True) if not over])
            for row, over in zip(ids, long, strict=True):
                reason = f"too long: {len(row)} tokens, and the model reads {room}"
                yield RequestFailed(reason) if over else next(answers)

    def _ids(self, chat: Messages) -> list[int]:
        tokenizer: Any = self.tokenizer
        told = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=True)
        return list(told["input_ids"])

    def _answers(self, rows: list[list[int]]) -> Iterator[str | RequestFailed]:
        """By halves where memory runs out."""
        for _, found in by_halves(self._answer, rows) if rows else ():
            if isinstance(found, Failed):
                yield RequestFailed(found.reason, again=True)
            else:
                yield from found

    @torch.no_grad()
    def _answer(self, rows: Sequence[list[int]]) -> list[str | RequestFailed]:
        width = max(map(len, rows))
        ids = torch.full((len(rows), width), int(self.how.pad_token_id or 0))
        mask = torch.zeros_like(ids)
        for k, row in enumerate(rows):
            ids[k, width - len(row) :], mask[k, width - len(row) :] = torch.tensor(row), 1
        device = input_device(self.model)
        model: Any = self.model  # typed without the generation methods that it has
        written = model.generate(
            input_ids=ids.to(device), attention_mask=mask.to(device), generation_config=self.how
        )[:, width:].tolist()
        return [self._said(row) for row in written]

    def _said(self, row: list[int]) -> str | RequestFailed:
        end = next((k for k, token in enumerate(row) if token in self.ends), None)
        if end is None:
            return RequestFailed(f"cut off: the answer has more than {len(row)} tokens")
        return str(self.tokenizer.decode(row[:end], skip_special_tokens=True))
