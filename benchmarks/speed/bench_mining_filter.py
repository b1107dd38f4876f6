"""Documents a second and memory of the loss-delta filter beside two naive passes.

    python -m benchmarks.speed.bench_mining_filter --documents 16 --device cuda --dtype bfloat16

The naive method reads for each rationale the text with it and the text without it, one row each,
and builds all logits: one row at a time, or all rows of a batch of documents in two passes. Ours is
``reason_decode.mining.score_rationales``, for one document at a time and for the same batches. All
methods run on the same random model and documents. Checked first: all give the same deltas.
"""

import argparse
import random
import sys
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.speed.kernel_table import DTYPES, peak_memory, seconds_of
from reason_decode.core.tags import TAGS
from reason_decode.io.console import table
from reason_decode.mining import AnnotatedDocument, score_rationales
from reason_decode.models.devices import default_device

DISCOUNT = 0.9


def main(argv: Sequence[str] | None = None) -> int:
    """Check and time the methods, print the table."""
    args = _parser().parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    tokenizer = _tokenizer(args.vocabulary)
    model: Any = _model(args)
    documents = _documents(args)

    def naive(rows: int) -> list[float]:
        pairs = [(x, k) for x in documents for k in range(len(x.rationales))]
        groups = (pairs[start : start + rows] for start in range(0, len(pairs), rows))
        return [delta for group in groups for delta in _naive(model, tokenizer, group)]

    def ours(batch: int) -> list[float]:
        scored = score_rationales(documents, model, tokenizer, discount=DISCOUNT, batch_size=batch)
        return [float("nan") if x.delta is None else x.delta for x in scored]

    count = args.batch_size
    methods = {
        "naive, a row at a time": partial(naive, 1),
        f"naive, two passes for {count} documents": partial(naive, count * args.rationales),
        "ours, a document at a time": partial(ours, 1),
        f"ours, {count} documents at a time": partial(ours, count),
    }
    deltas = torch.tensor([method() for method in methods.values()])
    apart = float((deltas - deltas[0]).abs().max())
    if not apart < args.tolerance:
        raise AssertionError(f"the methods differ by {apart} nats; allowed are {args.tolerance}")
    extra = {name: peak_memory(method, args.device) for name, method in methods.items()}
    seconds: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(args.rounds):
        for name, method in methods.items():
            seconds[name].append(seconds_of(method, args.device))
    best = {name: min(taken) for name, taken in seconds.items()}
    _, naive_batch, *_ = best
    size = sum(x.numel() for x in model.parameters()) / 1e6
    print(
        f"{len(documents)} documents, {args.rationales} rationales each, {size:.1f} M parameters, "
        f"vocabulary {args.vocabulary}, {args.dtype}, {args.device}; deltas differ by {apart:.1e}"
    )
    rows = [
        {
            "method": name,
            "documents/s": f"{len(documents) / taken:.2f}",
            "times faster": f"{best[naive_batch] / taken:.2f}",
            "extra MiB": f"{extra[name] / 2**20:.0f}",
            "times less": f"{extra[naive_batch] / max(1, extra[name]):.1f}",
        }
        for name, taken in best.items()
    ]
    print(table(rows))
    return 0


@torch.inference_mode()
def _naive(
    model: Any, tokenizer: Any, pairs: Sequence[tuple[AnnotatedDocument, int]]
) -> list[float]:
    """Deltas of rationales, each from one row with it and one row without, and all logits."""

    def ids(text: str) -> list[int]:
        return tokenizer(text, add_special_tokens=False)["input_ids"]

    sums: list[float] = []
    for with_rationale in (True, False):
        rows: list[torch.Tensor] = []
        lengths: list[int] = []
        for document, index in pairs:
            row = [token for text in document.texts[: index + 1] for token in ids(text)]
            row += ids(TAGS.around(document.rationales[index])) if with_rationale else []
            following = ids(document.texts[index + 1])
            rows.append(torch.tensor(row + following))
            lengths.append(len(following))
        # Padding comes after the text, where causal attention never sees it.
        whole = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True).to(model.device)
        logp = model(whole, use_cache=False).logits[:, :-1].float().log_softmax(-1)
        logps = logp.gather(-1, whole[:, 1:, None])[..., 0].cpu()
        for k, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            weights = DISCOUNT ** torch.arange(length)
            sums.append(float((weights * logps[k, len(row) - 1 - length : len(row) - 1]).sum()))
        del logp
    return [a - b for a, b in zip(sums[: len(pairs)], sums[len(pairs) :], strict=True)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--documents", type=int, default=16, help="documents (default: 16)")
    add("--rationales", type=int, default=6, help="rationales of a document (default: 6)")
    add("--segment", type=int, default=24, help="tokens between rationales (default: 24)")
    add("--rationale", type=int, default=25, help="tokens of a rationale (default: 25)")
    add("--vocabulary", type=int, default=32_000, help="tokens (default: 32,000)")
    add("--width", type=int, default=256, help="hidden size (default: 256)")
    add("--layers", type=int, default=4, help="layers (default: 4)")
    add("--batch-size", type=int, default=8, help="documents of a batch (default: 8)")
    add("--rounds", type=int, default=3, help="timed rounds (default: 3)")
    add("--threads", type=int, help="CPU threads (default: torch's)")
    add("--dtype", choices=DTYPES, default="float32", help="(default: float32)")
    add("--device", default=str(default_device()), help="(default: %(default)s)")
    add(
        "--tolerance",
        type=float,
        default=1e-3,
        help="largest difference of deltas, in nats; bfloat16 needs more (default: 0.001)",
    )
    return parser


def _tokenizer(size: int) -> PreTrainedTokenizerFast:
    """A tokenizer with one token for each of the words w1, w2, ..."""
    vocabulary = {"[UNK]": 0} | {f"w{k}": k for k in range(1, size)}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=words, unk_token="[UNK]")


def _model(args: argparse.Namespace) -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=args.vocabulary,
        hidden_size=args.width,
        intermediate_size=4 * args.width,
        num_hidden_layers=args.layers,
        num_attention_heads=max(args.width // 64, 1),
        max_position_embeddings=8192,
    )
    model: Any = LlamaForCausalLM(config).eval()
    return model.to(args.device, DTYPES[args.dtype])


def _documents(args: argparse.Namespace) -> list[AnnotatedDocument]:
    generator = random.Random(0)

    def words(count: int) -> str:
        return " ".join(f"w{generator.randrange(1, args.vocabulary)}" for _ in range(count)) + " "

    return [
        AnnotatedDocument(
            str(k),
            "made",
            tuple(words(args.segment) for _ in range(args.rationales + 1)),
            tuple(f" {words(args.rationale)}" for _ in range(args.rationales)),
        )
        for k in range(args.documents)
    ]


if __name__ == "__main__":
    sys.exit(main())
