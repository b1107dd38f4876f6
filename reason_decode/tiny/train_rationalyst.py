"""The recipe of the tiny rationale model: ``python -m reason_decode.tiny.train_rationalyst``.

From documents with candidate rationales (``rationales.py``) to a model, in stages that each leave
their result in ``--out``; a run that was stopped goes on with the stage that it was in:

1. ``drawn.jsonl``: documents, some of their rationales right, some distracting.
2. ``reader``: the tiny base has never seen a rationale, and any at all lowers the likelihood of
   what follows. So it first learns to read documents with all of the candidates in them. Nobody
   tells it which are right; those that are of use it learns to use.
3. ``mined.jsonl``: the candidates whose delta, by the reader, reaches a threshold that is
   calibrated on a few documents of which it is known what is right; for each source, and each
   place from the end of a countdown solution, one of its own (``thresholds.json``).
4. ``trained``: the reader goes on to learn to write the rationales that were kept, and what
   follows them, so that it can be the scorer, too.
5. ``model``: that in half precision, as it is shipped.
"""

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import Any

from tqdm import tqdm
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast

from reason_decode.mining import Calibrated, Judged, Marked, calibrate, judge
from reason_decode.rows import write_rows
from reason_decode.scorers.writer import TAGS
from reason_decode.tiny import export, tokenizer
from reason_decode.tiny.rationales import COUNTDOWN, Drawn, draw
from reason_decode.training import (
    RationaleRow,
    Recipe,
    read_rationales,
    split_documents,
    train_rationalyst,
)

# The first of these that keeps enough of what is right: before a first operation little tells a
# right aim from one that cannot be had, and without any such rationales none would be learnt.
PRECISIONS = (0.95, 0.9, 0.85, 0.8, 0.01)
LEAST_RECALL = 0.3
# Of the documents, by turns: to learn to read with, to calibrate on, to be filtered.
READ, LABELLED = 0.2, 0.02


def write_drawn(path: Path, documents: Iterable[Drawn]) -> None:
    """Write documents as JSON lines; the file appears only once it is whole."""
    write_rows(path, ({**asdict(x.document), "right": x.right} for x in documents))


def read_drawn(path: Path) -> Iterator[Drawn]:
    """The documents that ``write_drawn`` wrote."""
    with path.open() as file:
        for line in file:
            row = json.loads(line)
            texts, rationales = tuple(row["texts"]), tuple(row["rationales"])
            yield Drawn(Marked(row["id"], row["source"], texts, rationales), tuple(row["right"]))


def all_mined(documents: Iterable[Drawn]) -> list[RationaleRow]:
    """Every candidate as if it had been kept."""
    return [
        RationaleRow(x.id, x.source, x.preceding(k), rationale, x.texts[k + 1])
        for x, _ in documents
        for k, rationale in enumerate(x.rationales)
    ]


def kind(judged: Judged) -> str:
    """What a rationale is calibrated with: its source, and of countdown how much is to come."""
    document = judged.document
    if document.source == COUNTDOWN:
        return f"{document.source} {len(document.rationales) - judged.place}"
    return document.source


def thresholds(judged: Sequence[Judged], right: Sequence[bool]) -> dict[str, Calibrated]:
    """A threshold for each kind of rationale.

    Args:
        judged: labelled rationales.
        right: whether each is.

    Raises:
        ValueError: nothing of some kind is right.
    """
    labelled: dict[str, list[tuple[float, bool]]] = {}
    for x, good in zip(judged, right, strict=True):
        if x.delta is not None:
            labelled.setdefault(kind(x), []).append((x.delta, good))
    return {name: _threshold(pairs) for name, pairs in sorted(labelled.items())}


def _threshold(pairs: Sequence[tuple[float, bool]]) -> Calibrated:
    deltas, good = zip(*pairs, strict=True)
    for precision in PRECISIONS[:-1]:
        try:
            found = calibrate(deltas, good, precision=precision)
        except ValueError:
            continue
        if found.recall >= LEAST_RECALL:
            return found
    return calibrate(deltas, good, precision=PRECISIONS[-1])


def mine(
    model: Any,
    words: PreTrainedTokenizerFast,
    labelled: Sequence[Drawn],
    documents: Iterable[Drawn],
    out: Path,
) -> None:
    """Write the rationales that help the model to predict what follows them.

    Args:
        model: the judge.
        words: its tokenizer.
        labelled: documents to calibrate on.
        documents: to be filtered.
        out: JSON Lines of ``RationaleRow``; ``thresholds.json`` goes beside it.
    """
    how: dict[str, Any] = {"threshold": float("-inf"), "batch": 32}
    known = list(judge((x.document for x in labelled), model, words, **how))
    found = thresholds(known, [good for x in labelled for good in x.right])
    (out.parent / "thresholds.json").write_text(
        json.dumps({name: x._asdict() for name, x in found.items()}, indent=1) + "\n"
    )
    judged = tqdm(judge((x.document for x in documents), model, words, **how), unit="rationale")
    write_rows(out, (asdict(_mined(x)) for x in judged if _reaches(x, found)))


def _reaches(judged: Judged, found: Mapping[str, Calibrated]) -> bool:
    least = found.get(kind(judged))
    return least is not None and judged.delta is not None and judged.delta >= least.threshold


def _mined(judged: Judged) -> RationaleRow:
    document, k = judged.document, judged.place
    texts = (document.preceding(k), document.rationales[k], document.texts[k + 1])
    return RationaleRow(document.id, document.source, *texts, judged.delta)


def run(
    out: Path, base: Path, *, documents: int, seed: int, reader: Recipe, recipe: Recipe
) -> dict[str, Any]:
    """All stages that are not done yet; what the last one measured.

    Args:
        out: the folder of everything.
        base: the tiny base, a checkpoint.
        documents: how many are drawn.
        seed: of the drawing.
        reader: how the reader learns.
        recipe: how the rationale model does.
    """
    out.mkdir(parents=True, exist_ok=True)
    drawn, mined = out / "drawn.jsonl", out / "mined.jsonl"
    words = tokenizer.with_words(PreTrainedTokenizerFast.from_pretrained(base), TAGS)
    if not drawn.exists():
        write_drawn(drawn, tqdm(draw(seed, documents), total=documents, unit="document"))
    rows = read_drawn(drawn)
    read = list(islice(rows, int(READ * documents)))
    labelled = list(islice(rows, int(LABELLED * documents)))
    if not (out / "reader" / "loss.json").exists():
        told = train_rationalyst(
            base, words, all_mined(read), out / "reader", learn="following", recipe=reader
        )
        (out / "reader" / "loss.json").write_text(json.dumps(told) + "\n")
    if not mined.exists():
        judge_model = AutoModelForCausalLM.from_pretrained(out / "reader").eval()
        mine(judge_model, words, labelled, rows, mined)
    kept, held = split_documents(read_rationales(mined)[0], 0.01)
    told = train_rationalyst(
        out / "reader", words, kept, out / "trained", learn="both", recipe=recipe, held_out=held
    )
    model = AutoModelForCausalLM.from_pretrained(out / "trained")
    export.rationalyst(out, out / "trained", model)
    return told


def main() -> None:
    """Parse the command line and run what is left to do."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all stages' results")
    parser.add_argument("--base", type=Path, help="a checkpoint; default: the packaged base")
    parser.add_argument("--documents", type=int, default=30_000)
    parser.add_argument("--epochs", type=float, default=1.0, help="over what was kept")
    parser.add_argument("--learning-rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    common: dict[str, Any] = {
        "batch": 16,
        "accumulate": 4,
        "learning_rate": args.learning_rate,
        "bfloat16": True,
    }
    base = args.base or Path(__file__).parent / "weights" / "base"
    told = run(
        args.out,
        base,
        documents=args.documents,
        seed=args.seed,
        reader=Recipe(**common, seed=args.seed),
        recipe=Recipe(**common, seed=args.seed, epochs=args.epochs),
    )
    print(json.dumps(told))


if __name__ == "__main__":
    main()
