"""``reason-decode train ranker``: a ranker, which weighs votes, from graded samples."""

from argparse import ArgumentParser, Namespace
from typing import Any, get_args

from tqdm import tqdm

from reason_decode.cli.prompts import read_all
from reason_decode.models.loading import load_padded_tokenizer
from reason_decode.training import (
    Compare,
    TrainingConfig,
    grade_samples,
    hold_out,
    train_ngram_ranker,
    train_ranker,
)
from reason_decode.training.ranker import RECIPE, WINDOW

__all__ = ["HELP", "RECIPE", "add_options", "train"]

HELP = (
    "a ranker of whole solutions: weighs the votes of adaptive self-consistency; --model ngrams: a "
    "linear one, which has no recipe"
)
NGRAMS = "ngrams"


def add_options(parser: ArgumentParser) -> None:
    """Options that other models have no use for."""
    parser.add_argument(
        "--compare",
        choices=get_args(Compare),
        default="cubic",
        help="the loss: of pairs, the published cubes or the logarithm of Bradley and Terry; or of "
        "single solutions, the cross-entropy (default: cubic)",
    )
    parser.add_argument(
        "--window",
        type=int,
        default=WINDOW,
        help=f"an encoder reads so many tokens, of both texts the ends (default: {WINDOW})",
    )
    parser.add_argument(
        "--most",
        type=int,
        default=16,
        help="solutions of a problem that are compared at a time (default: 16)",
    )
    parser.add_argument(
        "--unanswered-wrong",
        action="store_true",
        help="samples that state no answer are wrong ones; else they are left out: they do not "
        "vote",
    )


def train(args: Namespace, source: str, recipe: TrainingConfig) -> list[dict[str, Any]]:
    """Read and sort the samples, and train on problems with right and wrong ones."""
    tokenizer = None if source == NGRAMS else load_padded_tokenizer(source)
    # Text in front of a pair is the same for all solutions of a problem; a turn needs no suffix.
    solutions = read_all(args, one_text=tokenizer is None or tokenizer.chat_template is None)
    right, wrong, counts = grade_samples(
        tqdm(solutions, desc="grading", disable=None), unanswered_wrong=args.unanswered_wrong
    )
    print(counts)
    (right, right_held), (wrong, wrong_held) = (
        hold_out(side, args.hold_out) for side in (right, wrong)
    )
    if tokenizer is None:
        held = right_held, wrong_held
        return [train_ngram_ranker(right, wrong, args.out, separator=args.separator, held_out=held)]
    return [
        train_ranker(
            source,
            tokenizer,
            right,
            wrong,
            args.out,
            compare=args.compare,
            window=args.window,
            most=args.most,
            separator=args.separator,
            lora=args.lora,
            recipe=recipe,
            held_out=(right_held, wrong_held),
        )
    ]
