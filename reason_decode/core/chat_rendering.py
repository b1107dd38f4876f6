r"""Chat templates: the text of a conversation, and the conversation behind a text.

A strategy receives token ids. If they were made by ``apply_chat_template``, their text holds marks
of the template, and a scorer must not be asked about those. The template itself shows where the
messages are: it is rendered with marks in the place of contents, the text between the marks is
matched with the prompt, and the messages that are found count only if the template renders exactly
the prompt from them.
"""

import ctypes
import re
import threading
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import product
from typing import Any

from reason_decode.core.messages import Conversation, Messages

__all__ = [
    "SWITCHES",
    "apply_template",
    "find_messages",
    "is_rendered",
    "renders_marks",
    "scorer_prompts",
    "time_limit",
]

MAX_TURNS = 16
# Switches of thinking that templates read; each is tried both ways where a template names it.
SWITCHES = ("enable_thinking", "thinking")
_MARK = "Qx{}xQ"
_DATE = re.compile(r"\d{4}-\d\d-\d\d|\d{1,2} [A-Z][a-z]{2,8} \d{4}|[A-Z][a-z]{2,8} \d{1,2}, \d{4}")
MAX_SECONDS = 10.0
MAX_CHARACTERS = 2**24
"""Characters that a template may add to the contents of the messages."""


def apply_template(tokenizer: Any, messages: Sequence[Mapping[str, str]], **kwargs: Any) -> str:
    """The text of a conversation by a tokenizer's chat template.

    Args:
        tokenizer: has ``apply_chat_template``.
        messages: dicts with ``role`` and ``content``.
        kwargs: passed to ``apply_chat_template``.

    Raises:
        MemoryError: the text has far more characters than the messages.
        TimeoutError: the template did not end within 10 seconds.
        Exception: whatever the template raises.
    """
    with time_limit(MAX_SECONDS):
        text = tokenizer.apply_chat_template(
            [dict(message) for message in messages], tokenize=False, **kwargs
        )
    given = sum(len(message["content"]) for message in messages)
    if len(text) > 4 * given + MAX_CHARACTERS:
        raise MemoryError(f"it writes {len(text)} characters of {given}")
    return text


def find_messages(tokenizer: Any, prompts: Sequence[str]) -> list[list[dict[str, str]] | None]:
    """The conversation that the tokenizer's template renders to exactly each prompt.

    Of several the one with the most turns is taken: a text with the marks of three turns is read as
    three turns by the model, too. A system turn that the template writes by itself is left out.

    Args:
        tokenizer: has ``apply_chat_template``.
        prompts: decoded with their special tokens, without padding.

    Returns:
        For each prompt its messages, with contents as the template shows them, trimmed where it
        trims. ``None`` where no messages render to the prompt, or where a template parts two of
        them by white space alone and the place is not clear.
    """
    template = _template_of(tokenizer)
    if template is None:
        return [None] * len(prompts)
    return [template.find(template.normal(prompt)) for prompt in prompts]


def is_rendered(tokenizer: Any, prompt: str) -> bool:
    """True if a prompt has a mark that the tokenizer's template puts beside a user's turn.

    Args:
        tokenizer: may have ``apply_chat_template``.
        prompt: decoded with its special tokens.
    """
    template = _template_of(tokenizer)
    return template is not None and any(mark in prompt for mark in template.user_marks())


def renders_marks(tokenizer: Any) -> bool:
    """True if the tokenizer has a chat template that puts marks beside a user's turn.

    Where it is false no prompt is recognised as a rendered chat, and each is its own question.

    Args:
        tokenizer: may have ``apply_chat_template``.
    """
    return _template_of(tokenizer) is not None


def scorer_prompts(
    rows: Sequence[Any],
    tokenizer: Any,
    messages: Messages | Sequence[Messages] | None = None,
    questions: Sequence[str] | None = None,
) -> list[str]:
    """The question of each prompt, as its scorer is asked.

    A prompt that the tokenizer's chat template rendered is taken apart by that template, and its
    last user turn is the question, with the whole ``Conversation`` beside it; any other prompt is
    the question itself, without special tokens.

    Args:
        rows: token ids of each prompt, (t,) int64, without padding.
        tokenizer: the generator's tokenizer.
        messages: the conversation of each prompt, or of the only one; overrules the prompt.
        questions: the question of each prompt; overrules the last turn of ``messages``.

    Raises:
        ValueError: a number of messages or questions that is not that of the prompts.

    Warns:
        UserWarning: a prompt has the marks of a chat template, and it is not clear which part of
            it is the question.
    """
    asked: list[Any] = [None] * len(rows)
    if questions is not None:
        asked = _one_each("questions", list(questions), len(rows))
    if messages is not None:
        one = bool(messages) and isinstance(messages[0], Mapping)
        chats = _one_each("messages", [messages] if one else list(messages), len(rows))
        return [Conversation(*pair) for pair in zip(chats, asked, strict=True)]
    if questions is not None:
        return asked
    texts = [str(tokenizer.decode(row, skip_special_tokens=True)) for row in rows]
    whole = [str(tokenizer.decode(row)) for row in rows]
    distinct = list(dict.fromkeys(whole))
    chats_of = dict(zip(distinct, find_messages(tokenizer, distinct), strict=True))
    unclear = [x for x in distinct if chats_of[x] is None and is_rendered(tokenizer, x)]
    if unclear:
        warnings.warn(
            f"got a prompt with marks of the chat template ({unclear[0]!r:.80}) from which the "
            "question cannot be found; the scorer is asked about its whole text. Pass "
            "messages=[...] or questions=[...] to generate",
            UserWarning,
            stacklevel=5,
        )
    prompts: list[str] = []
    for text, rendered in zip(texts, whole, strict=True):
        chat = chats_of[rendered]
        prompts.append(text if chat is None else Conversation(chat))
    return prompts


def _one_each(name: str, given: list[Any], count: int) -> list[Any]:
    if len(given) != count:
        raise ValueError(f"got {len(given)} {name} for {count} prompts; pass one for each")
    return given


def _template_of(tokenizer: Any) -> "_Template | None":
    """The template of a tokenizer; ``None`` where it has none, or one that writes no marks."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    template = _Template(tokenizer)
    return template if template.user_marks() else None


def _role_sequences(most: int, last: str) -> Iterator[tuple[str, ...]]:
    """Roles without a system turn, from the most turns to the fewest."""
    for count in range(most, 0, -1):
        roles = tuple("user" if k % 2 == 0 else "assistant" for k in range(count))
        if count == 1:
            yield ("user", "user", "user")
            yield ("user", "user")
        if roles[-1] == last:
            yield roles


@dataclass(frozen=True)
class _Skeleton:
    """The text that a template puts around the contents of a sequence of roles.

    Attributes:
        literals: the text before, between and after the contents, one more than there are.
        order: the index of the turn that each gap between literals holds.
    """

    literals: tuple[str, ...]
    order: tuple[int, ...]


class _Template:
    """Renderings of one tokenizer's template."""

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer
        source = str(tokenizer.chat_template)
        names = [name for name in SWITCHES if re.search(rf"\b{name}\b", source)]
        self.switches: list[dict[str, Any]] = [{}]
        self.switches += [{name: value} for name, value in product(names, (False, True))]
        self._skeletons: dict[Any, _Skeleton | None] = {}

    def normal(self, text: str) -> str:
        """Text without what differs between two renderings: a doubled bos, the day's date."""
        bos = self.tokenizer.bos_token
        while bos and text.startswith(bos + bos):
            text = text[len(bos) :]
        return _DATE.sub("DATE", text)

    def find(self, target: str) -> list[dict[str, str]] | None:
        """The messages of one prompt; see ``find_messages``."""
        most = self._most_turns(target)
        for last in ("user", "assistant"):
            for kwargs in self._variants(last):
                for roles in _role_sequences(most, last):
                    found, clear = self._with_or_without_system(target, roles, kwargs)
                    if found is not None or not clear:
                        return found if found and self._is_plain(found) else None
        return None

    def user_marks(self) -> list[str]:
        """The lines next to a user's turn that hold more than white space."""
        skeleton = self._skeleton(("user",), {"add_generation_prompt": True})
        if skeleton is None:
            return []
        before, after = skeleton.literals
        lines = before.strip().splitlines()[-1:] + after.strip().splitlines()[:1]
        return [line.strip() for line in lines if line.strip()]

    def _variants(self, last: str) -> Iterator[dict[str, Any]]:
        """The arguments with which a conversation may have been rendered, the usual ones first."""
        usual = (
            {"add_generation_prompt": True} if last == "user" else {"continue_final_message": True}
        )
        for arguments in (usual, {"add_generation_prompt": False}):
            for switch in self.switches:
                yield {**arguments, **switch}

    def _is_plain(self, messages: Messages) -> bool:
        """True if no content holds what parts two turns, and a last answer says something."""
        if messages[-1]["role"] == "assistant" and len(messages[-1]["content"].strip()) < 1:
            return False
        borders = []
        for roles in (("user", "assistant", "user"), ("user", "user")):
            skeleton = self._skeleton(roles, {"add_generation_prompt": True})
            borders += [] if skeleton is None else skeleton.literals[1:-1]
        return not any(
            border.strip() and border.strip() in message["content"]
            for border in borders
            for message in messages
        )

    def _with_or_without_system(
        self, target: str, roles: tuple[str, ...], kwargs: Mapping[str, Any]
    ) -> tuple[list[dict[str, str]] | None, bool]:
        """The messages of these roles, and whether it is clear that these are the messages."""
        plain, clear = self._match(target, roles, kwargs)
        system, system_clear = self._match(target, ("system", *roles), kwargs)
        if plain is None and system is None:
            return None, clear and system_clear
        if plain is None:
            return system, system_clear
        # The same turns twice: the system turn is one that the template writes by itself.
        if system is None or system[1:] == plain:
            return (plain, True) if clear and (system_clear or system is None) else (None, False)
        # <<SYS>> inside the user's turn is the template's mark of a system turn.
        return (system, True) if system_clear else (None, False)

    def _match(
        self, target: str, roles: tuple[str, ...], kwargs: Mapping[str, Any]
    ) -> tuple[list[dict[str, str]] | None, bool]:
        """Messages that render to the target, and whether their borders are clear."""
        skeleton = self._skeleton(roles, kwargs)
        if skeleton is None:
            return None, True
        found: list[list[dict[str, str]]] = []
        # The shortest and the longest contents that fit differ where a content holds a mark.
        for gap in ("(.*?)", "(.*)"):
            pattern = gap.join(map(re.escape, skeleton.literals))
            match = re.fullmatch(pattern, target, re.DOTALL)
            if match is None:
                return None, True
            contents = dict(zip(skeleton.order, match.groups(), strict=True))
            messages = [{"role": role, "content": contents[k]} for k, role in enumerate(roles)]
            if messages not in found and self._render(messages, kwargs) == target:
                found.append(messages)
        marked = all(literal.strip() for literal in skeleton.literals[1:-1])
        return (found[0] if found else None), len(found) < 2 and (marked or not found)

    def _most_turns(self, target: str) -> int:
        """An upper bound for the turns of a prompt: how often what parts two turns occurs."""
        skeleton = self._skeleton(("user", "assistant", "user"), {"add_generation_prompt": True})
        between = [] if skeleton is None else [x.strip() for x in skeleton.literals[1:-1]]
        counts = [target.count(x) for x in between if x]
        return min(1 + 2 * min(counts) + 1, MAX_TURNS) if counts else 2

    def _render(self, messages: Messages, kwargs: Mapping[str, Any]) -> str | None:
        """The template's text, as it comes back from token ids; ``None`` where it refuses."""
        try:
            text = apply_template(self.tokenizer, messages, **kwargs)
        except Exception:  # a template may raise anything
            return None
        ids = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return self.normal(str(self.tokenizer.decode(ids)))

    def _skeleton(self, roles: tuple[str, ...], kwargs: Mapping[str, Any]) -> _Skeleton | None:
        """The text that the template puts around contents of these roles; cached."""
        key = roles, tuple(kwargs.items())
        if key not in self._skeletons:
            self._skeletons[key] = self._new_skeleton(roles, kwargs)
        return self._skeletons[key]

    def _new_skeleton(self, roles: tuple[str, ...], kwargs: Mapping[str, Any]) -> _Skeleton | None:
        marks = [_MARK.format(k) for k in range(len(roles))]
        messages = [{"role": r, "content": m} for r, m in zip(roles, marks, strict=True)]
        text = self._render(messages, kwargs)
        if text is None or any(text.count(mark) != 1 for mark in marks):
            return None  # the template refuses these roles, or drops or repeats a turn
        literals, end = [], 0
        places = sorted((text.index(mark), k) for k, mark in enumerate(marks))
        for at, k in places:
            literals.append(text[end:at])
            end = at + len(marks[k])
        return _Skeleton((*literals, text[end:]), tuple(k for _, k in places))


class _Expired(BaseException):
    """Raised by another thread; no ``except Exception`` of the code that runs may catch it."""


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Context that raises ``TimeoutError`` where its Python code takes longer, in any thread.

    Code in C is not interrupted before it returns.

    Args:
        seconds: the limit.

    Examples:
        >>> with time_limit(0.01):
        ...     while True:
        ...         pass
        Traceback (most recent call last):
        ...
        TimeoutError: it did not end within 0.01 seconds
    """
    thread, lock = threading.get_ident(), threading.Lock()
    ended = expired = False

    def expire() -> None:
        nonlocal expired
        with lock:
            if not ended:
                expired = True
                ctypes.pythonapi.PyThreadState_SetAsyncExc(
                    ctypes.c_ulong(thread), ctypes.py_object(_Expired)
                )

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    raised = False
    try:
        try:
            yield
        except _Expired:
            raised = True
            raise
        finally:
            with lock:
                ended = True
            timer.cancel()
            # An exception that was sent must be raised in here, not later in the caller's code.
            while expired and not raised:
                time.sleep(0.001)
    except _Expired:
        raise TimeoutError(f"it did not end within {seconds:g} seconds") from None
