r"""Our grading of other models' samples beside math-verify's, and who is right where they differ.

    python -m benchmarks.papers.grading --samples gpt35.jsonl.gz gpt4.jsonl.gz \
        --output runs/disagreements.jsonl

Draws samples that we call right and samples that we call wrong, equally many of each file, and has
math-verify grade the same texts from end to end: ``verify(parse(reference), parse(sample))``. Each
sample on which the two differ becomes a line of the output. Whether it states the reference answer
was decided by reading; the verdicts are in ``grading_verdicts.json`` (id -> true or false).

Problems are dealt into two halves by their text: rules were made while looking at ``--half
develop``, and figures are reported on the other half.
"""

import argparse
import gzip
import json
import random
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from math_verify import parse, verify
from tqdm import tqdm

from reason_decode.core.answers import extract_answer, reference_answer, same_answers
from reason_decode.core.hashing import stable_hash
from reason_decode.io.console import percent, table
from reason_decode.io.jsonl import write_rows

VERDICTS = Path(__file__).with_name("grading_verdicts.json")
HALVES = ("develop", "report")
CHUNK = 500


class Sample(NamedTuple):
    """A sampled solution beside the reference solution.

    Attributes:
        id: ``file:row:sample``, rows and samples from 0.
        reference: the reference solution.
        text: the sample.
        answer: the answer of the reference.
        stated: the answer of the sample, if it states one.
    """

    id: str
    reference: str
    text: str
    answer: str
    stated: str | None


def main(argv: Sequence[str] | None = None) -> int:
    """Draw, grade by both, write where they differ, print the counts."""
    args = _arguments(argv)
    drawn: list[tuple[Sample, bool]] = []
    for path in args.samples:
        samples = list(read_half(path, args.half))
        random.Random(args.seed).shuffle(samples)
        drawn += draw(samples, args.count // len(args.samples))
    with ProcessPoolExecutor(args.workers) as pool:
        texts = [(sample.reference, sample.text) for sample, _ in drawn]
        graded = pool.map(by_math_verify, texts, chunksize=20)
        theirs = list(tqdm(graded, total=len(drawn), desc="math-verify", disable=None))
    verdicts: dict[str, bool] = json.loads(args.verdicts.read_text())
    differ = [
        {"id": x.id, "reference": x.answer, "stated": x.stated, "ours": ours, "math_verify": other}
        | {"right": verdicts.get(x.id)}
        for (x, ours), other in zip(drawn, theirs, strict=True)
        if ours != other
    ]
    write_rows(args.output, differ)
    print(table([summary(len(drawn), differ)]))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=Path, nargs="+", required=True, metavar="FILE")
    parser.add_argument("--output", type=Path, required=True, help="JSON Lines of disagreements")
    parser.add_argument("--half", choices=HALVES, default="report", help="(default: report)")
    parser.add_argument("--seed", type=int, default=1, help="(default: 1)")
    parser.add_argument(
        "--count", type=int, default=2000, help="samples called right, and wrong (default: 2000)"
    )
    parser.add_argument("--verdicts", type=Path, default=VERDICTS)
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    return parser.parse_args(argv)


def read_half(path: Path, half: str) -> Iterator[Sample]:
    """The samples of the problems of a half whose reference has an answer.

    Args:
        path: rows of ``question``, ``answer`` (a solution) and ``generated_answer`` (samples).
        half: one of ``HALVES``.
    """
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for row, line in enumerate(file):
            problem = json.loads(line)
            question = problem["question"].removeprefix("Problem:").strip()
            answer = reference_answer(problem["answer"])
            if answer is None or stable_hash(question) % 2 != HALVES.index(half):
                continue
            for k, text in enumerate(problem["generated_answer"]):
                id = f"{path.name.split('.')[0]}:{row}:{k}"
                yield Sample(id, problem["answer"], text, answer, extract_answer(text))


def draw(samples: Sequence[Sample], count: int) -> list[tuple[Sample, bool]]:
    """The first samples that we call right and the first that we call wrong, with our verdict.

    Args:
        samples: samples in a random order.
        count: number of either kind.
    """
    found: dict[bool, list[Sample]] = {True: [], False: []}
    for start in range(0, len(samples), CHUNK):
        if min(map(len, found.values())) >= count:
            break
        chunk = samples[start : start + CHUNK]
        stating = [x for x in chunk if x.stated is not None]
        verdicts = same_answers([(x.stated or "", x.answer) for x in stating])
        right = {x.id for x, same in zip(stating, verdicts, strict=True) if same}
        for sample in chunk:
            found[sample.id in right].append(sample)
    return [(x, right) for right, some in found.items() for x in some[:count]]


def by_math_verify(texts: tuple[str, str]) -> bool:
    """True if math-verify, with its defaults, finds the answers of two solutions equal."""
    reference, sample = texts
    return verify(parse(reference), parse(sample))


def summary(count: int, differ: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of samples, of disagreements, and of who is right in those that were read."""
    read = [x for x in differ if x["right"] is not None]
    ours = sum(x["ours"] == x["right"] for x in read)
    return {
        "samples": count,
        "differ": len(differ),
        "not read": len(differ) - len(read),
        "ours right": ours,
        "math-verify right": len(read) - ours,
        "ours right of those read": percent(ours / len(read)) if read else "-",
        "ours wrong of all": f"{100 * (len(read) - ours) / count:.2f} %",
    }


if __name__ == "__main__":
    sys.exit(main())
