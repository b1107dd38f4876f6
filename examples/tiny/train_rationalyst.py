"""Train the tiny rationale model: ``python -m examples.tiny.train_rationalyst --out DIR``.

The stages go from documents with candidate rationales (``rationales.py``) to a model. Each leaves
its result in ``--out``, so that a stopped run continues with the stage that it was in:

1. ``exercised``: the tiny model first practises what a large model can do already: it learns
   documents in which each plan is a line of the text. Most plans are of first and second
   operations, which take the most computing. Afterwards the tags of a rationale get the embeddings
   of the line ends around such a plan.
2. ``drawn/``: documents in shards, with right and distracting rationales.
3. ``reader``: a model that has never seen a rationale finds what follows one less likely. So it
   first learns to read the documents of the first shards with all their candidates. It is not told
   which are right; it learns to use those that help.
4. ``mined/``: from the documents of the later shards, the rationales whose loss delta, by the
   reader, reaches a threshold. One shard, whose labels are known, calibrates a threshold for each
   source and, in countdown, for each number of steps left (``thresholds.json``). Countdown keeps
   equally many rationales of each such group: those before a first operation pass most seldom, and
   most is learnt from them.
5. ``trained``: the reader learns to write the rationales that were kept and the text after them,
   so that it can be the scorer, too. Distracting rationales cost a reader some of its practice, so
   after exercises the exercised model is trained here, not the reader. It also learns whole
   documents with more or fewer right rationales between tags: each line of a sum, and texts with
   several rationales.
6. ``model``: the result in half precision, as it is packaged.

Training starts from the verifier's weights, which can still predict tokens: a rationale mostly says
what can be made from which numbers, and learning that takes longer than all stages here.
"""

import argparse
import json
import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar, cast

import torch
from torch import nn
from tqdm import tqdm
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from examples.tiny import export, train
from examples.tiny.rationale_batches import (
    EncodedRows,
    RationaleDataset,
    concatenate,
    encode_as_lines,
    encode_documents,
    encode_tagged,
)
from examples.tiny.rationale_mining import (
    calibrate_on_shard,
    calibration_group,
    mine_shard,
    read_documents,
    to_rows,
    write_documents,
)
from examples.tiny.rationales import LabelledDocument, draw, draw_whole
from examples.tiny.tokenizer import with_words
from reason_decode.core.tags import TAGS
from reason_decode.io.jsonl import write_json
from reason_decode.mining import CalibratedThreshold
from reason_decode.models.loading import packaged
from reason_decode.training import RationaleRow, read_rationales

# Share of the shards that the reader learns from.
READER_SHARE = 0.15
# Share of the plans of each group that are exercises.
EXERCISE_SHARES = {
    "countdown 3": 0.4,
    "countdown 2": 0.12,
    "countdown 4": 1.0,
    "countdown 1": 0.05,
    "arithmetic": 0.08,
}
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True)
class RecipeConfig:
    """Sizes and learning rates of the recipe.

    Args:
        exercises: documents of exercises, learnt once; 0 for none, since long training on mined
            rationales teaches the same.
        whole_documents: documents that are learnt whole beside the mined rationales, once an epoch.
        documents: number of documents that are drawn.
        shard_size: documents of a shard; there have to be at least three shards.
        epochs: epochs over the mined rationales.
        reader_epochs: epochs of the reader.
        batch_size: rows of a training step.
        learning_rate: the largest learning rate in all stages but the exercises.
        exercise_learning_rate: the largest learning rate in the exercises.
        seed: seed of documents, order and weights.
        workers: processes that draw and score, each with a model of its own.
    """

    exercises: int = 0
    whole_documents: int = 0
    documents: int = 30_000
    shard_size: int = 2048
    epochs: float = 4.0
    reader_epochs: float = 1.0
    batch_size: int = 256
    learning_rate: float = 1e-3
    exercise_learning_rate: float = 2e-3
    seed: int = 0
    workers: int = 1


def exercise_rows(seed: int, count: int, start: int = 0) -> list[RationaleRow]:
    """Right plans of some documents, from each group its share of ``EXERCISE_SHARES``.

    Args:
        seed: seed of the documents, which are none that ``draw`` gives for the same seed.
        count: number of documents.
        start: the number of the first document.
    """
    rows: list[RationaleRow] = []
    for document, _ in draw(f"{seed}/exercises", count, wrong=0.0, start=start):
        rng = random.Random(f"exercised/{seed}/{document.id}")
        for k, row in enumerate(to_rows([LabelledDocument(document, ())])):
            if rng.random() < EXERCISE_SHARES[calibration_group(document, k)]:
                rows.append(row)
    return rows


def draw_shard(path: Path, config: RecipeConfig) -> None:
    """Write the documents of a shard, whose file name is its number."""
    start = int(path.stem) * config.shard_size
    count = min(config.shard_size, config.documents - start)
    write_documents(path, draw(config.seed, count, start=start))


def run(out: Path, base: Path, config: RecipeConfig) -> dict[str, int]:
    """Run all stages that are not done yet; the numbers of rows and tokens of the last one.

    Args:
        out: folder for the results of all stages.
        base: the checkpoint to start from.
        config: sizes and learning rates.

    Raises:
        ValueError: there are fewer than three shards.
    """
    if config.documents <= 2 * config.shard_size:
        raise ValueError(
            f"got {config.documents} documents in shards of {config.shard_size}; need at least "
            "three shards: for the reader, to calibrate on, and to mine"
        )
    for folder in ("drawn", "reader", "mined"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    if config.workers < 2:
        return _run_stages(out, base, config, None)
    # A forked process cannot use a GPU that this process has used, so workers are spawned.
    with ProcessPoolExecutor(config.workers, get_context("spawn")) as pool:
        return _run_stages(out, base, config, pool)


def _run_stages(
    out: Path, base: Path, config: RecipeConfig, pool: Executor | None
) -> dict[str, int]:
    names = [f"{k:04}.jsonl" for k in range(-(-config.documents // config.shard_size))]
    tokenizer = with_words(PreTrainedTokenizerFast.from_pretrained(base), TAGS)
    drawn, thresholds = out / "drawn", out / "thresholds.json"
    if config.exercises:
        base = _exercise(out / "exercised", base, tokenizer, config, pool)
    _make_missing(partial(draw_shard, config=config), drawn, names, pool)
    read = names[: max(1, round(READER_SHARE * len(names)))]
    shards = [drawn / name for name in read]
    reader = _train_reader(out / "reader", base, shards, tokenizer, config, pool)
    if not thresholds.exists():
        calibrated = calibrate_on_shard(reader, drawn / names[len(read)])
        write_json(thresholds, {name: x._asdict() for name, x in calibrated.items()})
    found = {
        name: CalibratedThreshold(**x) for name, x in json.loads(thresholds.read_text()).items()
    }
    mine = partial(mine_shard, drawn=drawn, reader=reader, thresholds=found)
    mined = _make_missing(mine, out / "mined", names[len(read) + 1 :], pool)
    rows = _encode_last_stage(mined, tokenizer, config, pool)
    start = base if config.exercises else reader
    model = _train(start, rows, out / "trained", tokenizer, config, config.epochs)
    export.rationalyst(out, reader, model)
    return {"rows": len(rows.ends), "tokens": len(rows.ids)}


def _exercise(
    out: Path,
    base: Path,
    tokenizer: PreTrainedTokenizerFast,
    config: RecipeConfig,
    pool: Executor | None,
) -> Path:
    """Train the base on its exercises, unless that is done; the folder of the result."""
    if not (out / "config.json").exists():
        encode = partial(_encode_exercises, config=config, tokenizer=tokenizer)
        starts = range(0, config.exercises, config.shard_size)
        rows = concatenate(_map(encode, starts, pool, "exercises"))
        faster = replace(config, learning_rate=config.exercise_learning_rate)
        model = _train(base, rows, out, tokenizer, faster, 1.0)
        init_tag_embeddings(model, tokenizer)
        _save(out, model, tokenizer)
    return out


def init_tag_embeddings(model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Give the rationale tags, which no text had yet, the embedding of a line end; in place.

    The model then reads and writes the closing tag as the line end after a plan. The opening tag,
    which is put before a rationale, must never be written; half the length makes it unlikely.
    """
    embeddings = cast(nn.Embedding, model.get_input_embeddings()).weight.data
    opening, closing, end = (
        tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (*TAGS, "\n")
    )
    embeddings[closing] = embeddings[end]
    embeddings[opening] = embeddings[end] / 2


def _train_reader(
    out: Path,
    base: Path,
    shards: Sequence[Path],
    tokenizer: PreTrainedTokenizerFast,
    config: RecipeConfig,
    pool: Executor | None,
) -> Path:
    """Train the base to read drawn documents, unless that is done; the folder of the result."""
    if not (out / "config.json").exists():
        encode = partial(_encode_drawn, tokenizer=tokenizer)
        rows = concatenate(_map(encode, shards, pool, "reader"))
        model = _train(base, rows, out, tokenizer, config, config.reader_epochs)
        _save(out, model, tokenizer)
    return out


def _encode_last_stage(
    mined: Sequence[Path],
    tokenizer: PreTrainedTokenizerFast,
    config: RecipeConfig,
    pool: Executor | None,
) -> EncodedRows:
    """The mined rationales and the whole documents."""
    parts = _map(partial(_encode_mined, tokenizer=tokenizer), mined, pool, "mined")
    encode = partial(_encode_whole, config=config, tokenizer=tokenizer)
    starts = range(0, config.whole_documents, config.shard_size)
    return concatenate([*parts, *_map(encode, starts, pool, "whole documents")])


def _encode_exercises(
    start: int, config: RecipeConfig, tokenizer: PreTrainedTokenizerFast
) -> EncodedRows:
    count = min(config.shard_size, config.exercises - start)
    return encode_as_lines(exercise_rows(config.seed, count, start), tokenizer)


def _encode_drawn(path: Path, tokenizer: PreTrainedTokenizerFast) -> EncodedRows:
    return encode_tagged(to_rows(read_documents(path)), tokenizer, learn_rationales=False)


def _encode_mined(path: Path, tokenizer: PreTrainedTokenizerFast) -> EncodedRows:
    return encode_tagged(read_rationales(path), tokenizer, learn_rationales=True)


def _encode_whole(
    start: int, config: RecipeConfig, tokenizer: PreTrainedTokenizerFast
) -> EncodedRows:
    count = min(config.shard_size, config.whole_documents - start)
    documents = list(draw_whole(f"{config.seed}/whole", count, start))
    return encode_documents(documents, tokenizer, config.seed)


def _train(
    base: Path,
    rows: EncodedRows,
    out: Path,
    tokenizer: PreTrainedTokenizerFast,
    config: RecipeConfig,
    epochs: float,
) -> LlamaForCausalLM:
    """Train a checkpoint on rows, continuing from what is in ``out``; the model, in eval mode."""
    # The verifier's checkpoint has three labels, which this model does not need.
    model = LlamaForCausalLM.from_pretrained(base, num_labels=2)
    out.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    data = RationaleDataset(rows, tokenizer, config.batch_size, config.seed)
    train.train(
        train.MultiHeadModel(model).train(),
        data,
        out,
        steps=data.steps(epochs),
        peak=config.learning_rate,
        weights=train.LossWeights(verdicts=0.0),
        workers=min(4, config.workers),
    )
    return model.eval()


def _save(out: Path, model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast) -> None:
    """Write a stage's checkpoint; the model comes last, since its file marks the stage as done."""
    tokenizer.save_pretrained(out)
    model.save_pretrained(out)


def _map(
    function: Callable[[Item], Result], items: Sequence[Item], pool: Executor | None, name: str
) -> list[Result]:
    """Results for all items, in order, by the processes of a pool or by this one."""
    results = pool.map(function, items) if pool else map(function, items)
    return list(tqdm(results, total=len(items), unit="shard", desc=name))


def _make_missing(
    make: Callable[[Path], None], folder: Path, names: Sequence[str], pool: Executor | None
) -> list[Path]:
    """Make those of the named files that do not exist; the paths of all."""
    paths = [folder / name for name in names]
    _map(make, [path for path in paths if not path.exists()], pool, folder.name)
    return paths


def main() -> None:
    """Parse the command line and run the stages that are left."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="folder of all stages' results")
    parser.add_argument(
        "--base",
        type=Path,
        default=packaged("prm"),
        help="a checkpoint (default: the packaged PRM)",
    )
    # The first words of each argument in the docstring are the help of its option.
    words = dict(re.findall(r"^ +(\w+): ([^;.\n]+)", RecipeConfig.__doc__ or "", re.MULTILINE))
    for field in fields(RecipeConfig):
        parser.add_argument(
            "--" + field.name.replace("_", "-"),
            type=type(field.default),
            default=field.default,
            help=f"{words[field.name]} (default: %(default)s)",
        )
    args = parser.parse_args()
    config = RecipeConfig(**{x.name: getattr(args, x.name) for x in fields(RecipeConfig)})
    print(json.dumps(run(args.out, args.base, config)))


if __name__ == "__main__":
    main()
