"""Structured generation: steps of one shape, then an answer of another."""

import importlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args, get_origin

import torch
from torch import Tensor
from transformers import LogitsProcessor, PreTrainedTokenizerBase

from reason_decode.core.splitting import StepSplitter
from reason_decode.processors.side_model import pad_id, unpadded
from reason_decode.processors.step_tracker import Ids, StepTracker
from reason_decode.processors.vocabulary import token_bytes

_REPEATS = re.compile(r"\{(?:\d*,)?(\d+)\}")
_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$#&\-~])")


class StructuredStepsLogitsProcessor(LogitsProcessor):
    r"""Allows only tokens that keep a solution in the shape ``(step)*answer``.

    At every token the text is the beginning of such a solution; ``max_new_tokens`` may cut it off
    before its end. A row that does not have the shape (beam search fills up beams with such rows)
    may only end. The state of a row is computed from its ids, so rows may be branched and reordered
    by beams and searches, and one object serves one generation after another.

    Args:
        tokenizer: the generator's tokenizer, a fast one, with an end-of-sequence token.
        step: a regular expression for a step with its end, such as ``r"[^\n]+\n"``, or anything
            that ``answer`` may be.
        answer: a regular expression, a list of choices, a ``Literal``, a JSON schema, a pydantic
            class, or a type of outlines that is regular (``Regex``, ``Choice``, ``JsonSchema``).
        max_repeats: largest bounded repetition that is allowed. ``Step [0-9]{1,3}: .{1,200}\n``
            takes minutes and gigabytes to compile; use ``+`` or ``*`` and ``max_new_tokens``.
        pad_token_id: id of the padding on the left; ``None``: that of the tokenizer.

    Raises:
        ImportError: outlines_core is not installed.
        ValueError: an expression cannot be compiled, or only at great cost; or the tokenizer is
            slow or has no end-of-sequence token.

    Source: Willard and Louf 2023, 2307.09702; the index is that of outlines_core.

    Examples:
        >>> from reason_decode import StructuredStepsLogitsProcessor, tiny
        >>> t = tiny.load()
        >>> step, answer = r"So [0-9]+\n", r"Answer: [0-9]+"
        >>> shape = StructuredStepsLogitsProcessor(t.tokenizer, step=step, answer=answer)
        >>> inputs = t.tokenizer(["1 + 2 =\n"], return_tensors="pt")
        >>> out = t.model.generate(**inputs, max_new_tokens=20, logits_processor=[shape])
        >>> t.tokenizer.decode(out[0]).split("=\n")[1].startswith(("So ", "Answer: "))
        True
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        *,
        step: Any,
        answer: Any,
        max_repeats: int = 32,
        pad_token_id: int | None = None,
    ) -> None:
        outlines = _outlines()
        if not isinstance(tokenizer.eos_token_id, int):
            raise ValueError("the tokenizer has no end-of-sequence token; set tokenizer.eos_token")
        shapes = (_expression(outlines, "step", step), _expression(outlines, "answer", answer))
        self.regex = "({})*({})".format(*shapes)
        for repeats in _REPEATS.findall(self.regex):
            if int(repeats) > max_repeats:
                raise ValueError(
                    f"got a repetition of up to {repeats} in {self.regex!r}; more than "
                    f"{max_repeats} may take minutes and gigabytes to compile. Use + or * and "
                    "max_new_tokens, or raise max_repeats"
                )
        self.eos = tokenizer.eos_token_id
        words = token_bytes(tokenizer)
        self._index = outlines.Index(self.regex, outlines.Vocabulary(self.eos, words))
        self.pad = pad_id(tokenizer, pad_token_id)
        self._tracker = StepTracker(tokenizer, StepSplitter())
        self._states: dict[Ids, int | None] = {}

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """The scores of the allowed tokens; -inf for all others.

        Args:
            input_ids: (r, t) int64, padded on the left.
            scores: (r, v).

        Returns:
            (r, v), of the dtype of ``scores``.
        """
        rows = [tuple(row.tolist()) for row in unpadded(input_ids, self.pad)]
        positions = self._tracker.track(rows)
        if not any(row[:-1] in self._states for row in rows):
            self._states = {}
        masked = torch.full_like(scores, -math.inf)
        for k, (row, position) in enumerate(zip(rows, positions, strict=True)):
            new = row[position.prompt_end :]
            if self.eos in new:
                # An ended row is padded whatever its scores are.
                masked[k] = scores[k]
                continue
            state = self._state(row, new)
            allowed = [self.eos] if state is None else self._index.get_allowed_tokens(state)
            masked[k, allowed] = scores[k, allowed]
        return masked

    def _state(self, row: Ids, new: Ids) -> int | None:
        """State of the index after a row's new ids; ``None`` if they do not have the shape."""
        if row not in self._states:
            before = row[:-1]
            if new and before in self._states:
                state = self._next(self._states[before], new[-1])
            else:
                state = self._index.get_initial_state()
                for token in new:
                    state = self._next(state, token)
            self._states[row] = state
        return self._states[row]

    def _next(self, state: int | None, token: int) -> int | None:
        return None if state is None else self._index.get_next_state(state, token)


def _expression(outlines: Any, name: str, shape: Any) -> str:
    """The regular expression of a text, of choices, of a schema, or of a type that outlines knows.

    Args:
        outlines: the module outlines_core.
        name: the argument's name, for the error message.
        shape: what was passed.
    """
    if isinstance(shape, str):
        return shape
    if isinstance(shape, Mapping):
        return outlines.json_schema.build_regex_from_schema(json.dumps(shape))
    if isinstance(shape, type) and hasattr(shape, "model_json_schema"):
        return _expression(outlines, name, shape.model_json_schema())
    if get_origin(shape) is Literal:
        shape = [str(choice) for choice in get_args(shape)]
    if type(shape).__module__.partition(".")[0] == "outlines":
        terms: Any = importlib.import_module("outlines.types.dsl")
        try:
            return terms.to_regex(shape)
        except (TypeError, NotImplementedError) as error:
            raise ValueError(
                f"got {name} of {type(shape).__name__}, which is no regular expression ({error}); "
                "pass a processor of outlines itself: generate(..., processors=lambda: [...])"
            ) from error
    if not isinstance(shape, Sequence) or not all(isinstance(x, str) for x in shape):
        raise ValueError(
            f"got {name}={shape!r:.80}; pass a regular expression, a list of choices, a JSON "
            "schema, a pydantic class, a Literal, or a type of outlines"
        )
    if not shape:
        raise ValueError(f"got no choices for the {name}; pass at least one")
    return "|".join(_SPECIAL.sub(r"\\\1", choice) for choice in shape)


def _outlines() -> Any:
    try:
        importlib.import_module("outlines_core.json_schema")
        return importlib.import_module("outlines_core")
    except ImportError as error:
        raise ImportError(
            "StructuredStepsLogitsProcessor needs outlines_core: "
            "pip install 'reason-decode[structured]'"
        ) from error
