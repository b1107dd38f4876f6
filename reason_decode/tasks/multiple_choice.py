"""Multiple choice: a question, options with letters, and the letter of the right one."""

import re
from collections.abc import Mapping, Sequence
from string import ascii_uppercase
from typing import Any

from reason_decode.core.answers import extract_answer, same_answer
from reason_decode.core.hashing import stable_hash
from reason_decode.tasks.base import QUESTION, Item, Task
from reason_decode.tasks.questions import Columns, find_column, question_task

__all__ = ["multiple_choice_task"]

_QUESTIONS = ("question", "question_stem", "problem", "prompt", "input", "query")
_OPTIONS = ("choices", "options", "endings")
_ANSWERS = ("answerkey", "answer", "target", "label", "correct", "gold", "correct answer")
_LETTERED = re.compile(r"\(?[A-Z]\)[ .:]*|[A-Z][.:] +")
_LETTER = re.compile(r"[(\s]*([A-Z])[).\s]*")
_INSTRUCTION = (
    "Please reason step by step, and put the letter of the right option within \\boxed{}."
)


def multiple_choice_task(columns: Columns | None = None) -> Task:
    r"""Questions with options, answered by a letter.

    A row has a question; ``choices`` or ``options``, a list of texts or ARC's
    ``{"text": [...], "label": [...]}``; and the answer as a letter, the index of an option or its
    text (MMLU, MMLU-Pro, ARC, CommonsenseQA). GPQA's columns ``Correct Answer`` and
    ``Incorrect Answer 1`` to ``3`` are read, too, in an order that depends on the question alone.
    Without options the question holds them, and the answer is a letter (BIG-Bench Hard).

    Examples:
        >>> task = multiple_choice_task()
        >>> item = task.row_to_item({"question": "1 + 2?", "choices": ["2", "3"], "answer": 1})
        >>> print(item.question)
        1 + 2?
        <BLANKLINE>
        A. 2
        B. 3
        >>> task.grade(item, "The answer is (B)."), task.grade(item, "\\boxed{3}")
        (True, True)
    """
    return question_task(
        "multiple-choice",
        columns,
        to_item=_item,
        grade=grade_letter,
        user_template=f"{QUESTION}\n\n{_INSTRUCTION}",
    )


def grade_letter(item: Item, text: str) -> bool:
    """True if a text answers with the letter, or with the text, of the right option."""
    answer = extract_answer(text)
    if answer is None:
        alone = _LETTER.fullmatch(text.rpartition("</think>")[2])
        answer = alone[1] if alone else None
    if answer is None:
        return False
    option = item.extra.get("option")
    return same_answer(answer, item.target) or (
        option is not None and _LETTER.fullmatch(answer) is None and same_answer(answer, option)
    )


def _item(row: Mapping[str, Any], index: int, columns: Columns) -> Item:
    column, question = find_column(row, columns.question, _QUESTIONS, "question")
    if not isinstance(question, str) or not question.strip():
        raise ValueError(f"got {question!r:.60} as `{column}`; need the text of a question")
    options, letters = _options(row)
    name, answer = find_column(row, columns.answer, _ANSWERS, "answer")
    if options is None:
        letter = _LETTER.fullmatch(answer) if isinstance(answer, str) else None
        if letter is None:
            raise ValueError(f"got {answer!r:.60} as `{name}` without options; need a letter")
        return Item(index, f"Question: {question}\nAnswer:", letter[1], question=question)
    if len(options) < 2 or len(options) > len(ascii_uppercase):
        raise ValueError(f"got {len(options)} options; need 2 to {len(ascii_uppercase)}")
    right = _index(name, answer, options, letters)
    lines = [f"{ascii_uppercase[k]}. {option}" for k, option in enumerate(options)]
    whole = "\n".join([question.strip(), "", *lines])
    extra = {"option": options[right]}
    return Item(index, f"Question: {whole}\nAnswer:", ascii_uppercase[right], extra, whole)


def _options(row: Mapping[str, Any]) -> tuple[list[str] | None, Sequence[str]]:
    """The options of a row and the letters that it calls them by; ``None`` where it has none."""
    by_name = {str(name).lower(): value for name, value in row.items()}
    if "incorrect answer 1" in by_name:
        names = ["correct answer", *(f"incorrect answer {k}" for k in (1, 2, 3))]
        texts = [str(by_name[name]).strip() for name in names if by_name.get(name)]
        # Shuffled by their own texts, so that the right one is not always the first.
        return sorted(texts, key=lambda text: stable_hash(f"{sorted(texts)} {text}")), ()
    found = next((by_name[name] for name in _OPTIONS if by_name.get(name) is not None), None)
    letters: Sequence[str] = ascii_uppercase
    if isinstance(found, Mapping):
        letters = [str(label) for label in found.get("label", ())]
        found = found.get("text")
    if found is None:
        return None, letters
    if not isinstance(found, list) or not all(isinstance(x, str | int | float) for x in found):
        raise ValueError(f"got {found!r:.60} as the options; need a list of texts")
    texts = [str(option).strip() for option in found]
    if all(_LETTERED.match(text) for text in texts):
        texts = [_LETTERED.sub("", text, count=1) for text in texts]  # AQuA writes "A)21"
    return texts, letters


def _index(name: str, answer: Any, options: Sequence[str], letters: Sequence[str]) -> int:
    """The index of the right option."""
    if isinstance(answer, int) and not isinstance(answer, bool) and 0 <= answer < len(options):
        return answer
    text = str(answer).strip()
    letter = _LETTER.fullmatch(text)
    for key in (letter[1] if letter else text, text):
        if key in letters and letters.index(key) < len(options):
            return letters.index(key)
    if text in options:
        return options.index(text)
    if text.isdigit() and int(text) < len(options):
        return int(text)
    raise ValueError(
        f"got {answer!r:.60} as `{name}`; need the letter, the index from 0 or the text of one of "
        f"{len(options)} options"
    )
