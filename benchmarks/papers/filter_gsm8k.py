"""Does the filter tell rationales that help from ones that don't, on text that people wrote?

    python -m benchmarks.papers.filter_gsm8k train --data ../shared/data/gsm8k --out runs/gsm8k
    python -m benchmarks.papers.filter_gsm8k test --data ../shared/data/gsm8k --out runs/gsm8k

`train` makes a small language model of train.jsonl alone, made to copy: it knows words whatever
their case, and attention begins by passing on the words that it sees. First it learns steps by
themselves, each behind a pseudo-rationale between tags: a question of words of that step, where
little else tells what comes. Then the steps of whole problems, most of them behind such a
rationale. Questions and the words between tags are not learnt. Most of a problem's rarer words are
exchanged, in each draw for others and everywhere in the problem alike: what comes is then to be
read off, and cannot be known by heart.

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
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from tqdm import tqdm
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    set_seed,
)

from reason_decode.core.tags import TAGS
from reason_decode.io.console import table
from reason_decode.io.jsonl import read_jsonl
from reason_decode.mining import AnnotatedDocument, calibrate_threshold, score_rationales
from reason_decode.training import Example, TrainingConfig
from reason_decode.training.examples import IGNORE, collate
from reason_decode.training.losses import class_loss
from reason_decode.training.trainer import fit

SPECIAL = ("<pad>", "<bos>", "<eos>", TAGS.opening, TAGS.closing, "\n", "<unk>")
_CALCULATION = re.compile(r"<<.*?>>")
_WORD = re.compile(r"[A-Za-z]+|\d[\d.,]*")
# How many of a problem's steps have a pseudo-rationale.
_SAID = 0.7
# How much of what a head attends to it passes on, before it has learnt anything.
_PASSED_ON = 0.7
_PRECISION, _CONFIDENCE = 0.95, 0.99
_ASKING = ("How many", "How much", "What is")
_ENDING = re.compile(r"(?<=\w{3})(s|ed|ing)$")
# The words that are never exchanged, the most frequent ones; and how many of the others are.
_KEPT, _EXCHANGED = 300, 0.7


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
    parser.add_argument("--epochs", type=float, default=5.0, help="of whole problems (default: 5)")
    parser.add_argument("--short", type=int, default=6_400, help="short texts (default: 6,400)")
    parser.add_argument("--layers", type=int, default=2)
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
    _begin_by_copying(model)
    rng, rare = random.Random(0), _rare(problems)
    solved = [problem for problem in problems if len(problem.steps) > 1]
    # Each is another draw, so that none is met twice.
    draws = math.ceil(epochs)
    some = (rng.choice(solved) for _ in range(short))
    parts = {
        "short": [_short(_exchanged(x, rare, rng), words, rng) for x in some],
        "whole": [
            _whole(_exchanged(x, rare, rng), words, rng) for _ in range(draws) for x in solved
        ],
    }
    began = time.perf_counter()
    for name, recipe in {
        "short": TrainingConfig(batch=32, learning_rate=2e-3, weight_decay=0.1),
        "whole": TrainingConfig(
            batch=4, accumulate=2, learning_rate=2e-3, weight_decay=0.1, epochs=epochs / draws
        ),
    }.items():
        folder = out if name == "whole" else out / name
        how: dict[str, Any] = {"loss": class_loss, "recipe": recipe, "batch": _learnt}
        told = fit(model, words, parts[name], folder, **how)
        minutes = (time.perf_counter() - began) / 60
        print(json.dumps({"part": name, **told, "minutes": round(minutes, 1)}))


def _begin_by_copying(model: Any) -> None:
    """Let attention pass on what it sees: with tied embeddings, such words become likelier.

    Source: Trockman and Kolter 2023, 2305.09828, who begin values and projections as identities.
    """
    with torch.no_grad():
        for layer in model.model.layers:
            for part in (layer.self_attn.v_proj, layer.self_attn.o_proj):
                part.weight.add_(_PASSED_ON * torch.eye(len(part.weight)))


def _learnt(examples: Sequence[Example], pad: int) -> dict[str, Any]:
    """A batch in which no logits are made before the first token that any row learns."""
    made = collate(examples, pad)
    first = int((made["labels"] != IGNORE).any(0).nonzero()[0])
    labels = made["labels"][:, first:]
    return {**made, "labels": labels, "logits_to_keep": labels.shape[1]}


def _tokenizer(problems: Sequence[Problem]) -> PreTrainedTokenizerFast:
    """Word pieces, 4,096 of them, without case: what is copied is the same at a sentence's start.

    Digits stand alone, and a new line is a token.
    """
    core = Tokenizer(models.WordPiece(unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.BertPreTokenizer()]
    )
    core.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=4096, special_tokens=list(SPECIAL), show_progress=False
    )
    core.train_from_iterator(("\n".join((x.question, *x.steps)) for x in problems), trainer)
    # The filter begins each document with what the tokenizer puts before an empty text.
    first = [("<bos>", core.token_to_id("<bos>"))]
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=first)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
    )


def _rare(problems: Sequence[Problem]) -> dict[str, None]:
    """The words that may be exchanged, in the order in which they come."""
    found = Counter(
        word.lower() for x in problems for text in (x.question, *x.steps) for word in _plain(text)
    )
    kept = {word for word, _ in found.most_common(_KEPT)}
    return dict.fromkeys(word for word in found if word not in kept)


def _plain(text: str) -> list[str]:
    """Words of three letters and more."""
    return [word for word in _WORD.findall(text) if len(word) > 2 and word.isalpha()]


def _exchanged(problem: Problem, rare: dict[str, None], rng: random.Random) -> Problem:
    """The same problem of other things: most of its rare words, each for one and the same."""
    others: dict[str, str] = {}
    choices = list(rare)

    def other(found: re.Match[str]) -> str:
        word = found.group().lower()
        if word not in rare:
            return found.group()
        if word not in others:
            others[word] = rng.choice(choices) if rng.random() < _EXCHANGED else word
        return others[word]

    texts = [_WORD.sub(other, text) for text in (problem.question, *problem.steps)]
    return Problem(texts[0], tuple(texts[1:]))


def _short(problem: Problem, words: PreTrainedTokenizerFast, rng: random.Random) -> Example:
    """A step behind a pseudo-rationale of its own, and nothing else."""
    step = rng.choice(problem.steps[:-1])
    said = TAGS.around(_pseudo(step, 0.6, rng))
    return _ids([(f"<bos>{said}", False), (f"{step}\n", True)], words)


def _whole(problem: Problem, words: PreTrainedTokenizerFast, rng: random.Random) -> Example:
    """A problem with a pseudo-rationale before most of its steps."""
    pieces: list[tuple[str, bool]] = [(f"<bos>{problem.question}\n", False)]
    for step in problem.steps[:-1]:
        if rng.random() < _SAID:
            pieces.append((TAGS.around(_pseudo(step, 0.3, rng)), False))
        pieces.append((f"{step}\n", True))
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
        scored_rationales = [
            (x, own)
            for documents, own in ((good, True), (bad, False))
            for x in score_rationales(
                tqdm(documents, unit="problem"), model, words, discount=discount, batch_size=16
            )
        ]
        for way in ("delta", "mean_delta"):
            scored = [
                (int(x.document.id) in half, getattr(x, way), own)
                for x, own in scored_rationales
                if x.delta is not None
            ]
            named = {"discount": str(discount), "by": _NAMES[way]}
            try:
                lines.append({**named, **_measured(scored)})
            except ValueError as error:
                print(f"{named}: {error}")
                lines.append({**named, **_above(scored), **dict.fromkeys(_MEASURED, "-")})
    return lines


_NAMES = {"delta": "sum", "mean_delta": "mean"}


def marked(number: int, problem: Problem, asked: Sequence[str]) -> AnnotatedDocument:
    """A problem with a question before each step."""
    lines = [f"{step}\n" for step in problem.steps[:-1]]
    return AnnotatedDocument(str(number), "gsm8k", (f"{problem.question}\n", *lines), tuple(asked))


def strangers(problems: Sequence[Problem], own: int, rng: random.Random) -> list[str]:
    """As many sub-questions of other problems."""
    chosen = []
    for _ in problems[own].asked:
        other = rng.randrange(len(problems) - 1)
        chosen.append(rng.choice(problems[other + (other >= own)].asked))
    return chosen


_MEASURED = ("threshold", "precision", "recall", "kept")


def _measured(scored: Sequence[tuple[bool, float, bool]]) -> dict[str, str]:
    """Calibrated on one half, measured on the other.

    Raises:
        ValueError: no threshold is as precise as asked for.
    """
    chosen = [(value, own) for first, value, own in scored if first]
    rest = [(value, own) for first, value, own in scored if not first]
    how = {"precision": _PRECISION, "confidence": _CONFIDENCE}
    found = calibrate_threshold([x for x, _ in chosen], [own for _, own in chosen], **how)
    kept = [own for value, own in rest if value >= found.threshold]
    good = sum(own for _, own in rest)
    told = (
        f"{found.threshold:.3f}",
        f"{100 * sum(kept) / max(1, len(kept)):.1f} %",
        f"{100 * sum(kept) / max(1, good):.1f} %",
        str(len(kept)),
    )
    return {**_above(scored), **dict(zip(_MEASURED, told, strict=True))}


def _above(scored: Sequence[tuple[bool, float, bool]]) -> dict[str, str]:
    """How often an own question's delta is above a foreign one's, of all pairs of the second half.

    Equal ones count half: 50 % is chance.
    """
    foreign = sorted(value for first, value, own in scored if not first and not own)
    values = [value for first, value, own in scored if not first and own]
    above = sum(bisect_left(foreign, x) + bisect_right(foreign, x) for x in values) / 2
    return {"own above foreign": f"{100 * above / max(1, len(values) * len(foreign)):.1f} %"}


if __name__ == "__main__":
    sys.exit(main())
