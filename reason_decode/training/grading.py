"""Samples sorted by their answers: right ones to learn, wrong ones to learn what not to do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.core.answers import extract_answer, same_answer
from reason_decode.models.tokenization import CachedTokenizer
from reason_decode.training.examples import Example
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.trainer import fit

__all__ = [
    "Counts",
    "Graded",
    "fit_solutions",
    "grade_samples",
    "prompt_ids",
    "solution_examples",
]


@dataclass
class Counts:
    """What became of samples that were graded.

    Args:
        problems: different prompts.
        samples: how many there were.
        right: whose answer is the reference's.
        wrong: whose answer is another.
        duplicates: left out: the same text was there already, for the same prompt.
        unanswered: those that state no answer, and were left out or taken for wrong.
        ungraded: left out: nobody knows the right answer.
        mixed: problems with right and wrong samples.

    Example:
        >>> print(Counts(problems=2, samples=4, right=1, wrong=1, duplicates=1, unanswered=1))
        4 samples of 2 problems: 1 right, 1 wrong, 1 duplicates, 1 unanswered, 0 ungraded; 0 mixed
    """

    problems: int = 0
    samples: int = 0
    right: int = 0
    wrong: int = 0
    duplicates: int = 0
    unanswered: int = 0
    ungraded: int = 0
    mixed: int = 0

    def __str__(self) -> str:
        told = ("right", "wrong", "duplicates", "unanswered", "ungraded")
        counts = ", ".join(f"{getattr(self, name)} {name}" for name in told)
        return f"{self.samples} samples of {self.problems} problems: {counts}; {self.mixed} mixed"


class Graded(NamedTuple):
    """Samples with right answers, those with wrong ones, and how many of each there were."""

    right: list[LabelledSolution]
    wrong: list[LabelledSolution]
    counts: Counts


def grade_samples(
    solutions: Iterable[LabelledSolution], *, unanswered_wrong: bool = False
) -> Graded:
    r"""Sort samples into D_pos and D_neg, each different text of a prompt once.

    Right where ``same_answer(extract_answer(sample), answer)``, not where two strings are equal:
    of the paper's published GPT-4 samples that took 2,777 right answers for wrong ones.

    Args:
        solutions: ``correct`` decides where it is known, else ``answer``.
        unanswered_wrong: whether a sample that states no answer is wrong, as in the paper's code.
            Else it is left out: it may have been cut off before its answer.

    Raises:
        ImportError: answers hold LaTeX that needs math-verify, and it is not installed.

    Source: Li et al. 2024, 2312.12832, section 3.1; Yiwei98/TDG at ca86f56, code/dataset.py, lines
    112 to 158, which compares normalised strings of boxes.

    Example:
        >>> from reason_decode.training import LabelledSolution, grade_samples
        >>> texts = ("So \\boxed{1/2}", "So \\boxed{0.5}", "So \\boxed{2}", "So \\boxed{2}", "So")
        >>> samples = [LabelledSolution("1/4 * 2 =", (x,), (None,), answer="0.5") for x in texts]
        >>> right, wrong, counts = grade_samples(samples)
        >>> len(right), len(wrong), counts.duplicates, counts.unanswered
        (2, 1, 1, 1)
    """
    right: list[LabelledSolution] = []
    wrong: list[LabelledSolution] = []
    counts = Counts()
    seen: set[tuple[str, tuple[str, ...]]] = set()
    known: dict[tuple[str, str], bool] = {}
    prompts: set[str] = set()
    for solution in solutions:
        counts.samples += 1
        prompts.add(solution.prompt)
        text = (solution.prompt, solution.steps)
        if text in seen:
            counts.duplicates += 1
            continue
        seen.add(text)
        verdict = _verdict(solution, known)
        if verdict == "ungraded":
            counts.ungraded += 1
            continue
        if verdict == "unanswered":
            counts.unanswered += 1
            if not unanswered_wrong:
                continue
        (right if verdict == "right" else wrong).append(solution)
    counts.problems, counts.right, counts.wrong = len(prompts), len(right), len(wrong)
    counts.mixed = len({x.prompt for x in right} & {x.prompt for x in wrong})
    return Graded(right, wrong, counts)


def _verdict(solution: LabelledSolution, known: dict[tuple[str, str], bool]) -> str:
    if solution.correct is not None:
        return "right" if solution.correct else "wrong"
    if solution.answer is None:
        return "ungraded"
    said = extract_answer("\n".join(solution.steps))
    if said is None:
        return "unanswered"
    # Samples of a problem agree often, and LaTeX is compared in another process.
    pair = (said, solution.answer)
    if pair not in known:
        known[pair] = same_answer(*pair)
    return "right" if known[pair] else "wrong"


def solution_examples(
    solutions: Iterable[LabelledSolution],
    tokenizer: Tokenizer,
    model: Any,
    *,
    separator: str = "\n",
    chat: bool = False,
) -> Iterator[Example]:
    r"""Each solution with its tokens and the end of sequence to be learnt, its prompt to be read.

    ``[bos] prompt (step separator)* eos``, as generation goes on from a prompt; each piece is
    tokenised by itself, so that a prompt's tokens do not depend on what follows.

    Args:
        solutions: any number.
        tokenizer: of the model.
        model: whose vocabulary it must fit.
        separator: what ends a step.
        chat: whether the prompt is a user's turn of the tokenizer's chat template.

    Raises:
        ValueError: a tokenizer without an end of sequence, or of a larger vocabulary.

    Source: not as in Yiwei98/TDG, code/dataset.py, which learns prompts and padding too.

    Example:
        >>> from reason_decode import tiny
        >>> from reason_decode.training import LabelledSolution
        >>> t = tiny.load()
        >>> sums = [LabelledSolution("1 + 2 =\n", ("1 + 2 = 3",), (None,))]
        >>> (example,) = solution_examples(sums, t.tokenizer, t.model)
        >>> t.tokenizer.decode(example.classes)
        '1 + 2 = 3\n<eos>'
    """
    end = tokenizer.eos_token_id
    if not isinstance(end, int):
        raise ValueError("got a tokenizer without an end of sequence; set tokenizer.eos_token")
    words = CachedTokenizer(tokenizer, model)
    for solution in solutions:
        before = prompt_ids(words, solution.prompt, separator=separator, chat=chat)
        said = [
            k
            for step in solution.steps
            for k in (*words.encode_cached(step), *words.encode_cached(separator))
        ]
        ids = [*before, *said]
        # The logits at a place are those of the token behind it.
        yield Example(ids, list(range(len(before) - 1, len(ids))), [*said, end])


def prompt_ids(words: CachedTokenizer, prompt: str, *, separator: str, chat: bool) -> list[int]:
    """What stands before a solution, when it is learnt and when it is sampled.

    Args:
        words: a tokenizer.
        prompt: the problem.
        separator: what ends a step.
        chat: see ``solution_examples``.
    """
    if not chat:
        return words.encode_plain(prompt, (), separator).ids
    return list(
        words.encode(words.render_chat([{"role": "user", "content": prompt}], generate=True))
    )


def fit_solutions(
    model: Any,
    tokenizer: Tokenizer,
    solutions: Iterable[LabelledSolution],
    held_out: Iterable[LabelledSolution],
    out: str | Path,
    *,
    separator: str,
    chat: bool,
    **options: Any,
) -> dict[str, Any]:
    """``fit`` on the tokens of solutions.

    Args:
        model: what learns.
        tokenizer: its own.
        solutions: see ``solution_examples``, like ``separator`` and ``chat``.
        held_out: measured after every epoch.
        out: as for ``fit``, like ``options``.
        separator: what ends a step.
        chat: whether prompts are put in the tokenizer's chat template.
        options: the others.
    """
    learnt, measured = (
        list(solution_examples(x, tokenizer, model, separator=separator, chat=chat))
        for x in (solutions, held_out)
    )
    return fit(model, tokenizer, learnt, out, held_out=measured, **options)
