"""A chat template in bounded time: templates come with checkpoints, which others wrote."""

import ctypes
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

__all__ = ["apply_template", "time_limit"]

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
