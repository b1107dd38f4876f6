"""The recipe of the tiny rationale model: ``python -m examples.tiny.train_rationalyst``.

From documents with candidate rationales (``rationales.py``) to a model, in stages that each leave
their result in ``--out``; a run that was stopped goes on with the stage that it was in:

1. ``exercised``: what a large model can do before it is asked for a rationale, the tiny one first
   exercises: documents in which each plan is said aloud, as a line of the text. Most of them are
   before a first or a second operation, where there is most to be computed. Then the tags of a
   rationale are read as what stood around a plan.
2. ``drawn/``: documents in shards, some of their rationales right, some distracting.
3. ``reader``: a tiny model has never seen a rationale, and any at all lowers the likelihood of
   what follows. So it first learns to read the first documents with all of the candidates in them.
   Nobody tells it which are right; those that are of use it learns to use.
4. ``mined/``: of the documents after those, the candidates whose delta, by the reader, reaches a
   threshold that is calibrated on one shard of which it is known what is right; for each source,
   and each place from the end of a countdown solution, one of its own (``thresholds.json``). Of
   all such places as many: what is said before a first operation passes most seldom, and most is
   to be learnt from it.
5. ``trained``: the reader goes on to learn to write the rationales that were kept, and what
   follows them, so that it can be the scorer, too. Distracting rationales cost a reader some of
   what it had exercised: where there were exercises, what was exercised goes on, not the reader.
   Beside them it learns documents whole, with more or fewer right rationales between tags: each
   line of a sum, and texts that have several rationales.
6. ``model``: that in half precision, as it is shipped.

All begins with the verifier's weights, which still predict tokens: what can be had from which
numbers is most of what there is to be said, and to learn it takes longer than all stages here.
"""

import argparse
import json
import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import asdict
from functools import lru_cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import torch
from torch import nn
from tqdm import tqdm
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.tiny import export, tokenizer, train
from examples.tiny.rationale_batches import (
    Encoded,
    RationaleBatches,
    encode,
    encode_said,
    encode_whole,
    joined,
)
from examples.tiny.rationales import COUNTDOWN, Drawn, draw, draw_whole
from reason_decode.core.tags import TAGS
from reason_decode.io.jsonl import write_rows
from reason_decode.mining import (
    AnnotatedDocument,
    CalibratedThreshold,
    ScoredRationale,
    calibrate_threshold,
    score_rationales,
)
from reason_decode.models.devices import default_device
from reason_decode.training import RationaleRow, read_rationales

# The first of these that keeps enough of what is right: before a first operation little tells a
# right aim from one that cannot be had, and without any such rationales none would be learnt.
PRECISIONS = (0.95, 0.9, 0.85, 0.8, 0.01)
LEAST_RECALL = 0.3
# Of the shards, to learn to read with.
READ = 0.15
# How many of the plans of each kind are exercises.
EXERCISED = {
    "countdown 3": 0.4,
    "countdown 2": 0.12,
    "countdown 4": 1.0,
    "countdown 1": 0.05,
    "arithmetic": 0.08,
}
Item = TypeVar("Item")
Shard = TypeVar("Shard")


class Recipe(NamedTuple):
    """How much is drawn and how long is learnt.

    Args:
        exercises: documents that are exercised, once; by default none, for long training on what
            was mined teaches that, too.
        whole: documents that are learnt whole beside what was mined, once an epoch.
        documents: how many are drawn.
        shard: documents of a shard; there are at least three shards.
        epochs: over what was kept.
        read_epochs: over what the reader learns.
        size: rows of an update.
        learning_rate: its peak, in all stages but the exercises.
        exercise_rate: its peak in the exercises.
        seed: of everything.
        workers: processes that draw and judge, each with a model of its own.
    """

    exercises: int = 0
    whole: int = 0
    documents: int = 30_000
    shard: int = 2048
    epochs: float = 4.0
    read_epochs: float = 1.0
    size: int = 256
    learning_rate: float = 1e-3
    exercise_rate: float = 2e-3
    seed: int = 0
    workers: int = 1


def write_drawn(path: Path, documents: Iterable[Drawn]) -> None:
    """Write documents as JSON lines; the file appears only once it is whole."""
    write_rows(path, ({**asdict(x.document), "right": x.right} for x in documents))


def read_drawn(path: Path) -> Iterator[Drawn]:
    """The documents that ``write_drawn`` wrote."""
    with path.open() as file:
        for line in file:
            row = json.loads(line)
            texts, rationales = tuple(row["texts"]), tuple(row["rationales"])
            yield Drawn(
                AnnotatedDocument(row["id"], row["source"], texts, rationales), tuple(row["right"])
            )


def all_mined(documents: Iterable[Drawn]) -> list[RationaleRow]:
    """Every candidate as if it had been kept."""
    return [
        RationaleRow(x.id, x.source, x.preceding(k), rationale, x.texts[k + 1])
        for x, _ in documents
        for k, rationale in enumerate(x.rationales)
    ]


def kind(document: AnnotatedDocument, index: int) -> str:
    """What a rationale is calibrated with: its source, and of countdown how much is to come."""
    if document.source == COUNTDOWN:
        return f"{document.source} {len(document.rationales) - index}"
    return document.source


def thresholds(
    judged: Sequence[ScoredRationale], right: Sequence[bool]
) -> dict[str, CalibratedThreshold]:
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
            labelled.setdefault(kind(x.document, x.index), []).append((x.delta, good))
    return {name: _threshold(pairs) for name, pairs in sorted(labelled.items())}


def _threshold(pairs: Sequence[tuple[float, bool]]) -> CalibratedThreshold:
    deltas, good = zip(*pairs, strict=True)
    for precision in PRECISIONS[:-1]:
        try:
            found = calibrate_threshold(deltas, good, precision=precision)
        except ValueError:
            continue
        if found.recall >= LEAST_RECALL:
            return found
    return calibrate_threshold(deltas, good, precision=PRECISIONS[-1])


def exercises(seed: int, count: int, start: int = 0) -> list[RationaleRow]:
    """Right plans of so many documents, of each kind its share of ``EXERCISED``.

    Args:
        seed: of everything; the documents are none that ``draw`` makes of the same seed.
        count: how many documents.
        start: the number of the first document.
    """
    rows: list[RationaleRow] = []
    for document, _ in draw(f"{seed}/exercises", count, wrong=0.0, start=start):
        rng = random.Random(f"exercised/{seed}/{document.id}")
        whole = all_mined([Drawn(document, ())])
        rows += [x for k, x in enumerate(whole) if rng.random() < EXERCISED[kind(document, k)]]
    return rows


def draw_shard(path: Path, recipe: Recipe) -> None:
    """Draw the documents of a shard, whose name is its number."""
    start = int(path.stem) * recipe.shard
    count = min(recipe.shard, recipe.documents - start)
    write_drawn(path, draw(recipe.seed, count, start=start))


@lru_cache(1)
def _loaded(reader: Path) -> tuple[Any, PreTrainedTokenizerFast]:
    """A reader, once a process; told by its folder, which is written once."""
    model: Any = AutoModelForCausalLM.from_pretrained(reader).eval()
    model.to(default_device())
    return model, PreTrainedTokenizerFast.from_pretrained(reader)


def _judged(reader: Path, documents: Iterable[AnnotatedDocument]) -> Iterator[ScoredRationale]:
    model, words = _loaded(reader)
    yield from score_rationales(
        documents, model, words, min_loss_delta=float("-inf"), batch_size=64
    )


def label(reader: Path, drawn: Path) -> dict[str, CalibratedThreshold]:
    """Thresholds from a shard of documents of which it is known which rationales are right."""
    labelled = list(read_drawn(drawn))
    known = list(_judged(reader, (x.document for x in labelled)))
    return thresholds(known, [good for x in labelled for good in x.right])


def mine_shard(
    path: Path, drawn: Path, reader: Path, found: Mapping[str, CalibratedThreshold]
) -> None:
    """Write the rationales of a drawn shard that help the reader to predict what follows them."""
    documents = (x.document for x in read_drawn(drawn / path.name))
    kept = balanced([x for x in _judged(reader, documents) if _reaches(x, found)])
    write_rows(path, (asdict(as_row(x)) for x in kept))


def balanced(judged: Sequence[ScoredRationale]) -> list[ScoredRationale]:
    """Of every kind of countdown rationale the first, as many as there are of the scarcest kind."""
    games = [kind(x.document, x.index) for x in judged if x.document.source == COUNTDOWN]
    room = Counter(dict.fromkeys(games, min(Counter(games).values(), default=0)))
    kept: list[ScoredRationale] = []
    for x in judged:
        if x.document.source == COUNTDOWN:
            room[kind(x.document, x.index)] -= 1
            if room[kind(x.document, x.index)] < 0:
                continue
        kept.append(x)
    return kept


def _reaches(judged: ScoredRationale, found: Mapping[str, CalibratedThreshold]) -> bool:
    least = found.get(kind(judged.document, judged.index))
    return least is not None and judged.delta is not None and judged.delta >= least.threshold


def as_row(judged: ScoredRationale) -> RationaleRow:
    """A judged rationale with the text around it and its delta."""
    document, k = judged.document, judged.index
    texts = (document.preceding(k), document.rationales[k], document.texts[k + 1])
    return RationaleRow(document.id, document.source, *texts, judged.delta)


def _encode_drawn(path: Path, words: PreTrainedTokenizerFast) -> Encoded:
    return encode(all_mined(read_drawn(path)), words, write=False)


def _encode_mined(path: Path, words: PreTrainedTokenizerFast) -> Encoded:
    return encode(read_rationales(path), words, write=True)


def _encode_exercises(start: int, recipe: Recipe, words: PreTrainedTokenizerFast) -> Encoded:
    count = min(recipe.shard, recipe.exercises - start)
    return encode_said(exercises(recipe.seed, count, start), words)


def _encode_whole(start: int, recipe: Recipe, words: PreTrainedTokenizerFast) -> Encoded:
    documents = draw_whole(f"{recipe.seed}/whole", min(recipe.shard, recipe.whole - start), start)
    return encode_whole(list(documents), words, recipe.seed)


def _each(do: Callable[[Item], Shard], paths: Sequence[Item], pool: Executor | None) -> list[Shard]:
    """Results for all paths, in order, by the processes of a pool or by this one."""
    told: dict[str, Any] = {"desc": do.func.__name__.strip("_") if isinstance(do, partial) else ""}
    results = pool.map(do, paths) if pool else map(do, paths)
    return list(tqdm(results, total=len(paths), unit="shard", **told))


def _learnt(
    base: Path,
    rows: Encoded,
    out: Path,
    words: PreTrainedTokenizerFast,
    recipe: Recipe,
    epochs: float,
) -> LlamaForCausalLM:
    """A checkpoint that learnt rows for so many epochs; goes on from what is in ``out``."""
    # The labels of a verifier are left behind.
    model = LlamaForCausalLM.from_pretrained(base, num_labels=2)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    data = RationaleBatches(rows, words, recipe.size, recipe.seed)
    train.train(
        train.Learner(model).train(),
        data,
        out,
        steps=data.steps(epochs),
        peak=recipe.learning_rate,
        weights=train.Weights(verdicts=0.0),
        workers=min(4, recipe.workers),
    )
    return model.eval()


def run(out: Path, base: Path, recipe: Recipe) -> dict[str, int]:
    """All stages that are not done yet; how many rows the last one learnt from.

    Args:
        out: the folder of everything.
        base: the checkpoint to begin with.
        recipe: how much and how long.

    Raises:
        ValueError: there are fewer than three shards.
    """
    if recipe.documents <= 2 * recipe.shard:
        raise ValueError(
            f"got {recipe.documents} documents in shards of {recipe.shard}; need at least three "
            "shards: to read, to calibrate on, and to mine"
        )
    for folder in ("drawn", "reader", "mined"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    if recipe.workers < 2:
        return _stages(out, base, recipe, None)
    # Spawned, for a forked process cannot use a GPU that this one has used.
    with ProcessPoolExecutor(recipe.workers, get_context("spawn")) as pool:
        return _stages(out, base, recipe, pool)


def _stages(out: Path, base: Path, recipe: Recipe, pool: Executor | None) -> dict[str, int]:
    names = [f"{k:04}.jsonl" for k in range(-(-recipe.documents // recipe.shard))]
    words = tokenizer.with_words(PreTrainedTokenizerFast.from_pretrained(base), TAGS)
    drawn, found = out / "drawn", out / "thresholds.json"
    if recipe.exercises:
        base = _exercised(out / "exercised", base, words, recipe, pool)
    _missing(partial(draw_shard, recipe=recipe), drawn, names, pool)
    read = names[: max(1, round(READ * len(names)))]
    reader = _reader(out / "reader", base, [drawn / name for name in read], words, recipe, pool)
    if not found.exists():
        told = label(reader, drawn / names[len(read)])
        found.write_text(json.dumps({k: x._asdict() for k, x in told.items()}, indent=1) + "\n")
    least = {name: CalibratedThreshold(**x) for name, x in json.loads(found.read_text()).items()}
    mine = partial(mine_shard, drawn=drawn, reader=reader, found=least)
    mined = _missing(mine, out / "mined", names[len(read) + 1 :], pool)
    parts = _each(partial(_encode_mined, words=words), mined, pool)
    whole = partial(_encode_whole, recipe=recipe, words=words)
    parts += _each(whole, range(0, recipe.whole, recipe.shard), pool)
    rows = joined(parts)
    base = base if recipe.exercises else reader
    model = _learnt(base, rows, out / "trained", words, recipe, recipe.epochs)
    export.rationalyst(out, reader, model)
    return {"rows": len(rows.ends), "tokens": len(rows.ids)}


def _exercised(
    out: Path, base: Path, words: PreTrainedTokenizerFast, recipe: Recipe, pool: Executor | None
) -> Path:
    """The base after its exercises."""
    if not (out / "config.json").exists():
        said = partial(_encode_exercises, recipe=recipe, words=words)
        rows = joined(_each(said, range(0, recipe.exercises, recipe.shard), pool))
        at_first = recipe._replace(learning_rate=recipe.exercise_rate)
        model = _learnt(base, rows, out, words, at_first, 1.0)
        as_line_ends(model, words)
        _save(out, model, words)
    return out


def as_line_ends(model: LlamaForCausalLM, words: PreTrainedTokenizerFast) -> None:
    """Have the tags, which no text had yet, read as what stood around a plan: ends of lines.

    The closing one is written as a line's end is, too. The opening one, which is put before a
    rationale, must not be: half as long it is hardly ever the likeliest.
    """
    embeddings = cast(nn.Embedding, model.get_input_embeddings()).weight.data
    opening, closing, end = (
        words(text, add_special_tokens=False)["input_ids"][0] for text in (*TAGS, "\n")
    )
    embeddings[closing] = embeddings[end]
    embeddings[opening] = embeddings[end] / 2


def _reader(
    out: Path,
    base: Path,
    drawn: Sequence[Path],
    words: PreTrainedTokenizerFast,
    recipe: Recipe,
    pool: Executor | None,
) -> Path:
    """The base after it learnt to read drawn documents."""
    if not (out / "config.json").exists():
        rows = joined(_each(partial(_encode_drawn, words=words), drawn, pool))
        _save(out, _learnt(base, rows, out, words, recipe, recipe.read_epochs), words)
    return out


def _save(out: Path, model: LlamaForCausalLM, words: PreTrainedTokenizerFast) -> None:
    """A stage's checkpoint; the model comes last, for it says that the stage is done."""
    words.save_pretrained(out)
    model.save_pretrained(out)


def _missing(
    do: Callable[[Path], None], folder: Path, names: Sequence[str], pool: Executor | None
) -> list[Path]:
    """Make the files that are not there; all of them."""
    paths = [folder / name for name in names]
    _each(do, [path for path in paths if not path.exists()], pool)
    return paths


def main() -> None:
    """Parse the command line and run what is left to do."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all stages' results")
    parser.add_argument("--base", type=Path, help="a checkpoint; default: the packaged verifier")
    for name, default in Recipe()._asdict().items():
        option = "--" + name.replace("_", "-")
        parser.add_argument(
            option, type=type(default), default=default, help="default: %(default)s"
        )
    args = parser.parse_args()
    base = args.base or Path(__file__).parent / "weights" / "prm"
    recipe = Recipe(**{name: getattr(args, name) for name in Recipe._fields})
    print(json.dumps(run(args.out, base, recipe)))


if __name__ == "__main__":
    main()
