"""The bytes that each token of a tokenizer stands for."""

import json
import re
from typing import Any

from transformers import PreTrainedTokenizerBase

_BYTE = re.compile(r"<0x([0-9A-F]{2})>")


def token_bytes(tokenizer: PreTrainedTokenizerBase) -> dict[bytes, list[int]]:
    """Mapping from byte strings to the ids of the tokens that stand for them.

    Special tokens stand for none. Bytes are exact where text is not: tokens that hold a part of a
    character all decode to U+FFFD.

    Args:
        tokenizer: a fast tokenizer, byte-level (as GPT-2's) or with spaces as U+2581 (as
            SentencePiece's).

    Raises:
        ValueError: the tokenizer is slow.
    """
    if not tokenizer.is_fast:
        raise ValueError(
            f"got {type(tokenizer).__name__}, a slow tokenizer; load a fast one, with a "
            "tokenizer.json"
        )
    letters = _letters() if _is_byte_level(tokenizer) else None
    added = tokenizer.added_tokens_decoder
    found: dict[bytes, list[int]] = {}
    for token, i in tokenizer.get_vocab().items():
        if i in added:
            text = b"" if added[i].special else token.encode()
        elif letters is not None:
            text = bytes(letters[x] for x in token)
        elif byte := _BYTE.fullmatch(token):
            text = bytes([int(byte[1], 16)])
        else:
            text = token.replace("\u2581", " ").encode()
        if text:
            found.setdefault(text, []).append(i)
    return found


def _is_byte_level(tokenizer: PreTrainedTokenizerBase) -> bool:
    backend: Any = tokenizer.backend_tokenizer  # transformers types it as a union
    decoder = json.loads(backend.to_str()).get("decoder") or {}
    parts = [decoder, *decoder.get("decoders", ())]
    return any(part.get("type") == "ByteLevel" for part in parts)


def _letters() -> dict[str, int]:
    """GPT-2's characters for bytes: printable bytes are themselves, the others U+0100 and up."""
    own = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + k): x for k, x in enumerate(rest)}
