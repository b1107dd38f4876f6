"""Does the filter tell rationales that help from ones that don't, on text that people wrote?

    python benchmarks/filter_gsm8k.py train --data ../shared/data/gsm8k --out runs/gsm8k
    python benchmarks/filter_gsm8k.py test --data ../shared/data/gsm8k --out runs/gsm8k

`train` makes a small language model of train.jsonl alone, in two parts. First steps by themselves,
each behind a pseudo-rationale between tags: a question of words of that step, or in a fifth of them
of one of another problem, so that the model learns to copy out of a rationale where little else
tells what comes. Then whole problems: question, steps,
answer, with such a rationale before half of the steps, so that it learns when not to. The words
between tags are not learnt.

`test` takes test_socratic.jsonl: before each step its own sub-question, and in a second copy of the
problem a sub-question of another problem. A threshold is calibrated on half of the problems, to be
99 % sure of a precision of 95 %, and measured on the other half, by the sum of the deltas and by
their mean, with the discount and without.
"""

import argparse
import json
import math
import random
import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)

from reason_decode.cli.text import table
from reason_decode.evaluation.files import read_jsonl
from reason_decode.mining import Marked, calibrate, judge
from reason_decode.scorers.writer import TAGS
from reason_decode.training import Example, Recipe
from reason_decode.training.fit import fit
from reason_decode.training.losses import class_loss

SPECIAL = ("<pad>", "<bos>", "<eos>", TAGS.opening, TAGS.closing)
_CALCULATION = re.compile(r"<<.*?>>")
_WORD = re.compile(r"[A-Za-z]+|\d[\d.,]*")
# Of the steps with a pseudo-rationale, those whose words are the step's own.
_OWN = {"short": 0.8, "whole": 0.6}
_PRECISION, _CONFIDENCE = 0.95, 0.99
_ASKING = ("How many", "How much", "What is")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_ENDING = re.compile(r"(?<=\w{3})(s|ed|ing)$")


class Problem(NamedTuple):
    """A question, its steps, and the sub-question that each answers (none in train.jsonl)."""

    question: str
    steps: tuple[str, ...]
    asked: tuple[str, ...] = ()


def main(argv: Sequence[str] | None = None) -> int:
    """Train the model, or test the filter with it."""
    args = _arguments(argv)
    if args.action == "train":
        problems = read(args.data / "train.jsonl")[: args.limit]
        train(problems, args.out, (args.layers, args.width), args.short, args.epochs)
        return 0
    problems = read(args.data / "test_socratic.jsonl")[: args.limit]
    lines = test(problems, args.out, args.seed)
    print(table(lines))
    return 0


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("action", choices=("train", "test"))
    parser.add_argument("--data", type=Path, required=True, help="the folder of GSM8K")
    parser.add_argument("--out", type=Path, required=True, help="the model's folder")
    parser.add_argument("--limit", type=int, help="only the first so many problems")
    parser.add_argument(
        "--epochs", type=float, default=2.5, help="of whole problems (default: 2.5)"
    )
    parser.add_argument("--short", type=int, default=14_400, help="short texts (default: 14,400)")
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--seed", type=int, default=0, help="test: of the halves and the strangers")
    return parser.parse_args(argv)


def read(path: Path) -> list[Problem]:
    """The problems of a file, without the calculators' notes."""
    rows, rejected = read_jsonl(path)
    if rejected:
        raise ValueError(f"{path} has {len(rejected)} malformed lines, first {rejected[0]}")
    problems = []
    for _, row in rows:
        *lines, last = _CALCULATION.sub("", row["answer"]).split("\n")
        parts = [line.split(" ** ", 1) for line in lines if line.strip()]
        asked = tuple(part[0].strip() for part in parts if len(part) == 2)
        steps = (*(part[-1].strip() for part in parts), last.strip())
        problems.append(Problem(row["question"].strip(), steps, asked))
    return problems


def train(
    problems: Sequence[Problem], out: Path, size: tuple[int, int], short: int, epochs: float
) -> None:
    """A language model of problems, with pseudo-rationales between tags; saved to ``out``."""
    words = _tokenizer(problems)
    set_seed(0)
    layers, width = size
    config = LlamaConfig(
        vocab_size=len(words),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        intermediate_size=width * 8 // 3,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model: Any = LlamaForCausalLM(config)
    rng = random.Random(0)
    # Each is another draw of pseudo-rationales, so that none is met twice.
    draws = math.ceil(epochs)
    parts = {
        "short": [_short(problems, words, rng) for _ in range(short)],
        "whole": [_whole(x, problems, words, rng) for _ in range(draws) for x in problems],
    }
    began = time.perf_counter()
    for name, recipe in {
        "short": Recipe(batch=32, learning_rate=2e-3),
        "whole": Recipe(batch=4, accumulate=2, learning_rate=1.5e-3, epochs=epochs / draws),
    }.items():
        folder = out if name == "whole" else out / name
        told = fit(model, words, parts[name], folder, loss=class_loss, recipe=recipe)
        minutes = (time.perf_counter() - began) / 60
        print(json.dumps({"part": name, **told, "minutes": round(minutes, 1)}))


def _tokenizer(problems: Sequence[Problem]) -> PreTrainedTokenizerFast:
    """Byte-level BPE of 4,096 tokens; digits stand alone."""
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=4096,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(("\n".join((x.question, *x.steps)) for x in problems), trainer)
    # The filter begins each document with what the tokenizer puts before an empty text.
    first = [("<bos>", core.token_to_id("<bos>"))]
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=first)
    return PreTrainedTokenizerFast(
        tokenizer_object=core, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>"
    )


def _short(
    problems: Sequence[Problem], words: PreTrainedTokenizerFast, rng: random.Random
) -> Example:
    """A step behind a pseudo-rationale, and in half of the texts the step before it."""
    problem = rng.choice(problems)
    place = rng.randrange(len(problem.steps) - 1)
    before = f"{problem.steps[place - 1]}\n" if place and rng.random() < 0.5 else ""
    said = _said(problem, place, problems, rng, "short")
    return _ids([(f"<bos>{before}{said}", False), (f"{problem.steps[place]}\n", True)], words)


def _whole(
    problem: Problem, others: Sequence[Problem], words: PreTrainedTokenizerFast, rng: random.Random
) -> Example:
    """A problem with a pseudo-rationale before half of its steps."""
    pieces: list[tuple[str, bool]] = [(f"<bos>{problem.question}\n", True)]
    for place, step in enumerate(problem.steps[:-1]):
        if rng.random() < 0.5:
            pieces.append((_said(problem, place, others, rng, "whole"), False))
        pieces.append((f"{step}\n", True))
    pieces.append((f"{problem.steps[-1]}\n<eos>", True))
    return _ids(pieces, words)


def _ids(pieces: Sequence[tuple[str, bool]], words: PreTrainedTokenizerFast) -> Example:
    """Pieces of text, tokenised apart as the filter does; those that say so are learnt."""
    ids: list[int] = []
    learnt: list[bool] = []
    for text, learn in pieces:
        new = words(text, add_special_tokens=False)["input_ids"]
        ids += new
        learnt += [learn] * len(new)
    places = [k - 1 for k in range(1, len(ids)) if learnt[k]]
    return Example(ids, places, [ids[k + 1] for k in places])


def _said(
    problem: Problem, place: int, others: Sequence[Problem], rng: random.Random, part: str
) -> str:
    """A pseudo-rationale between tags, of a step or of one of another problem.

    Of the last step before the answer it is in half of them what the problem asks for: the one real
    question of a step that train.jsonl has.
    """
    if rng.random() >= _OWN[part]:
        problem = rng.choice(others)
        place = rng.randrange(len(problem.steps) - 1)
    if place == len(problem.steps) - 2 and rng.random() < 0.5:
        return TAGS.around(_SENTENCE.split(problem.question)[-1])
    return TAGS.around(_pseudo(problem.steps[place], 0.6 if part == "short" else 0.3, rng))


def _pseudo(step: str, least: float, rng: random.Random) -> str:
    """A question of some words of a step, without its numbers: what it is about.

    A question has other forms of the words ("makes" -> "make"), and not always in their order.
    """
    share = rng.uniform(least, 1.0)
    found = [
        _ENDING.sub("", word) if rng.random() < 0.5 else word
        for word in _WORD.findall(step)
        if not word[0].isdigit() and rng.random() < share
    ]
    if rng.random() < 0.3:
        rng.shuffle(found)
    return " ".join((rng.choice(_ASKING), *found)) + "?"


def test(problems: Sequence[Problem], folder: Path, seed: int) -> list[dict[str, str]]:
    """Precision and recall on held-out problems, for each way to sum up the deltas."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    words = AutoTokenizer.from_pretrained(folder)
    whole = [problem for problem in problems if len(problem.asked) == len(problem.steps) - 1]
    rng = random.Random(seed)
    good = [marked(k, problem, problem.asked) for k, problem in enumerate(whole)]
    bad = [marked(k, problem, strangers(whole, k, rng)) for k, problem in enumerate(whole)]
    half = {k for k in range(len(whole)) if rng.random() < 0.5}
    print(f"{len(whole)} problems, {sum(len(x.asked) for x in whole)} steps, each judged twice\n")
    lines = []
    for discount in (0.9, 1.0):
        how: dict[str, Any] = {"discount": discount, "batch": 16}
        judged = [
            (x, own)
            for documents, own in ((good, True), (bad, False))
            for x in judge(tqdm(documents, unit="problem"), model, words, **how)
        ]
        for way in ("delta", "mean"):
            scored = [
                (int(x.document.id) in half, getattr(x, way), own)
                for x, own in judged
                if x.delta is not None
            ]
            lines.append({"discount": str(discount), "by": _NAMES[way], **_measured(scored)})
    return lines


_NAMES = {"delta": "sum", "mean": "mean"}


def marked(number: int, problem: Problem, asked: Sequence[str]) -> Marked:
    """A problem with a question before each step."""
    lines = [f"{step}\n" for step in problem.steps[:-1]]
    return Marked(str(number), "gsm8k", (f"{problem.question}\n", *lines), tuple(asked))


def strangers(problems: Sequence[Problem], own: int, rng: random.Random) -> list[str]:
    """As many sub-questions of other problems."""
    chosen = []
    for _ in problems[own].asked:
        other = rng.randrange(len(problems) - 1)
        chosen.append(rng.choice(problems[other + (other >= own)].asked))
    return chosen


def _measured(scored: Sequence[tuple[bool, float, bool]]) -> dict[str, str]:
    """Calibrated on one half, measured on the other."""
    chosen = [(value, own) for first, value, own in scored if first]
    rest = [(value, own) for first, value, own in scored if not first]
    how = {"precision": _PRECISION, "confidence": _CONFIDENCE}
    try:
        found = calibrate([x for x, _ in chosen], [own for _, own in chosen], **how)
    except ValueError as error:
        return {"threshold": "-", "precision": str(error)[:40], "recall": "-", "kept": "0"}
    kept = [own for value, own in rest if value >= found.threshold]
    good = sum(own for _, own in rest)
    return {
        "threshold": f"{found.threshold:.3f}",
        "precision": f"{100 * sum(kept) / max(1, len(kept)):.1f} %",
        "recall": f"{100 * sum(kept) / max(1, good):.1f} %",
        "kept": str(len(kept)),
    }


if __name__ == "__main__":
    sys.exit(main())
