"""Steps of a solution: where they end in a text, and while its tokens are sampled."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import Any, NamedTuple, Protocol

__all__ = [
    "Boundary",
    "Pause",
    "Splitting",
    "StepBoundary",
    "StepSplitter",
    "as_splitter",
    "prompt_suffix_for",
    "splitter_for",
]

# A token has a byte at least; the others let the tokenizer join words as in the whole text.
_CONTEXT = 8
# A match of a pattern is looked for in this many tokens, so that a token costs a constant.
_PATTERN_WINDOW = 32
_MARK = re.compile(r"<[^\s<>]+>|\[[^\s\[\]]+\]")
_BLANK_LINE = "\n\n"


@dataclass(frozen=True)
class StepSplitter:
    r"""Splits a solution into steps at a separator, at one of several, at a pattern, or by length.

    ``split("a\n\n  b\n") == ["a", "  b"]`` for the separator ``"\n"``: blank pieces are dropped,
    the others are left as they are.

    Args:
        separator: the text that ends a step: ``"\n"`` for one step per line, ``"\n\n"`` for one
            per paragraph; or several texts, each of which ends a step. ``None``: ``"\n"``, unless
            there is a pattern or a number of tokens.
        pattern: a regular expression whose matches end steps, such as ``r"\n(?=Step \d)"``. While
            tokens are sampled, a match is looked for in the last 32 of them.
        tokens: number of tokens of a step. A search counts the tokens that it samples.
        tokenizer: splits texts into such tokens; scorers with a tokenizer put theirs in.

    Raises:
        ValueError: a separator is not text, or empty; the pattern is no regular expression, or
            matches the empty text; the number is below 1; or more than one of them is given.

    Examples:
        >>> from reason_decode import StepSplitter
        >>> StepSplitter("\n\n").split("First this.\n\nThen that.")
        ['First this.', 'Then that.']
        >>> StepSplitter(pattern=r"(?<=[.!?])\s+").split("First this. Then that.")
        ['First this.', 'Then that.']
    """

    separator: str | Sequence[str] | None = None
    _: KW_ONLY
    pattern: str | None = None
    tokens: int | None = None
    tokenizer: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        separator: Any = self.separator
        if (separator is not None) + (self.pattern is not None) + (self.tokens is not None) > 1:
            raise ValueError(
                f"got separator={separator!r}, pattern={self.pattern!r} and tokens={self.tokens!r};"
                " pass one of them"
            )
        if separator is None and self.pattern is None and self.tokens is None:
            object.__setattr__(self, "separator", "\n")
        elif separator is not None and not isinstance(separator, str):
            is_list = isinstance(separator, Sequence) and not isinstance(separator, bytes)
            if not is_list or not separator:
                raise ValueError(
                    f"got separator={separator!r}; pass the text that ends a step, such as '\\n', "
                    "or several texts"
                )
            object.__setattr__(self, "separator", tuple(separator))
        for text in self.separators:
            if not isinstance(text, str):
                raise ValueError(
                    f"got separator={separator!r}; pass the text that ends a step, such as '\\n'"
                )
            if not text:
                raise ValueError(
                    "got an empty separator; pass the text that ends a step, such as '\\n'"
                )
        _check_pattern(self.pattern)
        whole = isinstance(self.tokens, int) and not isinstance(self.tokens, bool)
        if self.tokens is not None and not (whole and self.tokens >= 1):
            raise ValueError(f"got tokens={self.tokens!r}; pass a whole number of at least 1")

    @property
    def separators(self) -> tuple[str, ...]:
        """The texts that end a step; none where a pattern or a number of tokens does."""
        if self.separator is None:
            return ()
        return (self.separator,) if isinstance(self.separator, str) else tuple(self.separator)

    @property
    def joiner(self) -> str:
        r"""The text put between steps to make a text of them.

        The separator, the first of several, ``"\n"`` for a pattern, nothing for steps of tokens.
        """
        if self.separators:
            return self.separators[0]
        return "" if self.pattern is None else "\n"

    def split(self, text: str) -> list[str]:
        """Steps of a text in order, without separators."""
        return [piece for piece in self._all_pieces(text) if piece.strip()]

    def pieces(self, text: str) -> list[str]:
        """Pieces of a text that are the text again when they are joined by ``joiner``.

        With one separator all that lies between separators, also what is blank; else the whole
        text. A blank text has no pieces.
        """
        if not text.strip():
            return []
        return text.split(self.separator) if isinstance(self.separator, str) else [text]

    def complete(self, text: str) -> list[str]:
        """Steps of an unfinished text: those that a separator has ended."""
        return [piece for piece in self._all_pieces(text)[:-1] if piece.strip()]

    def extend(self, steps: Sequence[str], before: str, text: str, ended: bool) -> tuple[str, ...]:
        """The steps of a text that has grown.

        Args:
            steps: the steps of its beginning.
            before: that beginning; of steps that are counted in tokens, the text of whole steps.
            text: the text.
            ended: whether it has ended, so that its last step is complete, too.
        """
        if self.tokens is not None:
            new = text[len(before) :]
            return (*steps, new) if new.strip() else tuple(steps)
        found = tuple(self.split(text) if ended else self.complete(text))
        # A pattern that looks ahead may take back a match as the text grows.
        return found if found[: len(steps)] == tuple(steps) else tuple(steps)

    def with_tokenizer(self, tokenizer: Any) -> "StepSplitter":
        """This splitter with a tokenizer, where it counts tokens and has none."""
        if self.tokens is None or self.tokenizer is not None:
            return self
        return replace(self, tokenizer=tokenizer)

    def settings(self) -> Any:
        """The splitter as plain JSON, from which ``as_splitter`` makes it again."""
        if self.pattern is not None:
            return {"pattern": self.pattern}
        if self.tokens is not None:
            return {"tokens": self.tokens}
        return self.separator if isinstance(self.separator, str) else list(self.separators)

    def matches(self, text: str) -> Iterator[tuple[int, int]]:
        """Beginning and end of each separator in a text; none for steps of tokens."""
        if isinstance(self.separator, str):
            start = text.find(self.separator)
            while start >= 0:
                end = start + len(self.separator)
                yield start, end
                start = text.find(self.separator, end)
        elif self.tokens is None:
            yield from (match.span() for match in re.finditer(self._expression(), text))

    def _expression(self) -> str:
        if self.pattern is not None:
            return self.pattern
        # Of separators that begin alike the longest is taken: a blank line is no two newlines.
        return "|".join(re.escape(x) for x in sorted(self.separators, key=len, reverse=True))

    def _all_pieces(self, text: str) -> list[str]:
        if self.tokens is not None:
            return self._token_pieces(text)
        pieces, end = [], 0
        for start, after in self.matches(text):
            pieces.append(text[end:start])
            end = after
        return [*pieces, text[end:]]

    def _token_pieces(self, text: str) -> list[str]:
        """Stretches of ``tokens`` tokens, the last of at most as many."""
        if self.tokenizer is None or not getattr(self.tokenizer, "is_fast", False):
            raise ValueError(
                f"got a splitter by tokens={self.tokens} with tokenizer={self.tokenizer!r:.50}; "
                "pass tokenizer=, a fast one, which gives the places of its tokens in a text"
            )
        read = self.tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        ends = [end for _, end in read["offset_mapping"]]
        assert self.tokens is not None
        cuts = [0, *dict.fromkeys(ends[self.tokens - 1 : -1 : self.tokens]), len(text)]
        return [text[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]


Splitting = StepSplitter | str | Sequence[str] | Mapping[str, Any]
"""A splitter, a separator, several, or the arguments of a splitter by name."""


def as_splitter(given: Splitting) -> StepSplitter:
    """The splitter of a separator, of several, or of what ``StepSplitter.settings`` returned.

    Raises:
        ValueError: it describes no splitter.
    """
    if isinstance(given, StepSplitter):
        return given
    if not isinstance(given, Mapping):
        return StepSplitter(given)
    if unknown := sorted(given.keys() - {"separator", "pattern", "tokens"}):
        raise ValueError(
            f"got the splitter {dict(given)!r:.80} with {unknown[0]!r}; allowed are separator, "
            "pattern and tokens"
        )
    return StepSplitter(given.get("separator"), **{k: x for k, x in given.items() if k[0] != "s"})


def splitter_for(separator: str, is_token: bool = False) -> StepSplitter:
    r"""The splitter of texts for a model whose layout has this separator after each step.

    The separator itself where a generator writes it; else, for a mark such as ``<extra_0>``, blank
    lines, and the mark where a text has it already.

    Args:
        separator: the text after each step in the model's input.
        is_token: whether it is a token of its own that was added to a tokenizer.

    Examples:
        >>> splitter_for("<extra_0>").split("We add.\n\nSo 5.")
        ['We add.', 'So 5.']
    """
    if not separator.isspace() and (is_token or _MARK.fullmatch(separator)):
        return StepSplitter((_BLANK_LINE, separator))
    return StepSplitter(separator)


def prompt_suffix_for(separator: str) -> str:
    """The end of a prompt before steps with this separator: white space itself, else nothing."""
    return separator if separator.isspace() else ""


def _check_pattern(pattern: Any) -> None:
    """Raise unless this is ``None`` or a regular expression that matches some text."""
    if pattern is None:
        return
    try:
        matches_nothing = re.search(pattern, "") is not None
    except (re.error, TypeError) as error:
        raise ValueError(f"got pattern={pattern!r}, which is no regular expression: {error}") from (
            error
        )
    if matches_nothing:
        raise ValueError(
            f"got pattern={pattern!r}, which matches the empty text, so that every character would "
            "be a step; let it match a character, such as '\\n+' in the place of '\\n*'"
        )


class Pause(NamedTuple):
    """The next place where a boundary may be, for a sampler that cannot look at each token.

    Attributes:
        stops: texts; it is not before the end of the first of them.
        tokens: it is not before so many more tokens; ``None``: they are not counted.
        anywhere: it may be behind any token, such as that of a pattern.
    """

    stops: tuple[str, ...] = ()
    tokens: int | None = None
    anywhere: bool = False


class Boundary(Protocol):
    """Says where the sampling of a row pauses."""

    def __call__(self, tokens: Sequence[int]) -> bool:
        """True if the new tokens of a row end where sampling should pause."""
        ...

    def pause(self, tokens: Sequence[int]) -> Pause:
        """The next place behind the new tokens of a row where a call may return true."""
        ...


@dataclass
class StepBoundary:
    """A predicate on new tokens: true once they hold ``count`` whole steps.

    It costs a constant a token: only a token whose text has the last character of a separator can
    end a step, and the text of all new tokens is decoded only where the last few of them hold a
    separator. A pattern is looked for in the last tokens, and all are decoded where a token brings
    a new match.

    Args:
        tokenizer: decodes the sampled tokens.
        splitter: splits text into steps.
        count: number of steps to wait for.
    """

    tokenizer: Any
    splitter: StepSplitter
    count: int = 1
    _may_end: dict[int, bool] = field(default_factory=dict)

    def __call__(self, tokens: Sequence[int]) -> bool:
        """True if ``tokens``, sampled since the last boundary, hold ``count`` whole steps."""
        if self.splitter.tokens is not None:
            return self._is_long(tokens, self.splitter.tokens * self.count)
        ends = self._ends_match if self.splitter.pattern is not None else self._ends_separator
        return ends(tokens) and len(self.splitter.complete(self._text(tokens))) >= self.count

    def pause(self, tokens: Sequence[int]) -> Pause:
        """The next place behind ``tokens``, sampled since the last boundary, to look at."""
        if self.splitter.tokens is not None:
            return Pause(tokens=max(1, self.splitter.tokens * self.count - len(tokens)))
        if self.splitter.pattern is not None:
            return Pause(anywhere=True)
        return Pause(stops=self.splitter.separators)

    def ends_separator(self, tokens: Sequence[int]) -> bool:
        """True if the last token may end a separator or a match, at a constant cost."""
        if self.splitter.tokens is not None:
            return len(tokens) % self.splitter.tokens == 0
        ends = self._ends_match if self.splitter.pattern is not None else self._ends_separator
        return ends(tokens)

    def _is_long(self, tokens: Sequence[int], length: int) -> bool:
        """True from a number of tokens on, unless they end in a part of a character."""
        if len(tokens) < length:
            return False
        return len(tokens) >= length + _CONTEXT or not self._text(tokens[-_CONTEXT:]).endswith("�")

    def _ends_separator(self, tokens: Sequence[int]) -> bool:
        last, separators = tokens[-1], self.splitter.separators
        if last not in self._may_end:
            text = self._text([last])
            self._may_end[last] = any(x[-1] in text for x in separators)
        if not self._may_end[last]:
            return False
        longest = max(len(x.encode()) for x in separators)
        tail = self._text(tokens[-(longest + _CONTEXT) :])
        found = sum(1 for _ in self.splitter.matches(tail))
        # Blank lines: no step was complete before them.
        blank = self.count == 1 and found > 1 and not self.splitter.complete(tail)
        return found > 0 and not blank

    def _ends_match(self, tokens: Sequence[int]) -> bool:
        tail, before = tokens[-_PATTERN_WINDOW:], tokens[-_PATTERN_WINDOW:-1]
        return self._matches(tail) > (self._matches(before) if before else 0)

    def _matches(self, tokens: Sequence[int]) -> int:
        return sum(1 for _ in self.splitter.matches(self._text(tokens)))

    def _text(self, tokens: Sequence[int]) -> str:
        return self.tokenizer.decode(list(tokens))
