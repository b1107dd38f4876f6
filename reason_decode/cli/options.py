"""The options that every command that decodes has, and what they stand for."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Hashable, Sequence
from typing import Any, get_args

from transformers import PreTrainedTokenizerBase

from reason_decode.cli.rationales import add_rationales, make_rationalyst
from reason_decode.scorers.loading import load_scorer, load_verifier
from reason_decode.scorers.reduction import Reduce
from reason_decode.strategies import BestOfN, RationaleGuided, SelfConsistency, StepSearch

__all__ = [
    "GUIDED",
    "OPTIONS",
    "PLAIN",
    "STRATEGIES",
    "add_decoding",
    "check_decoding",
    "make_strategy",
]

PLAIN = ("greedy", "sample")
SCORED = ("best-of-n", "step-search")
GUIDED = (*SCORED, "self-consistency", "rationale-guided")
STRATEGIES = (*PLAIN, *GUIDED)
# Options that not every strategy has: what they are if left out, whose they are, and for what.
OPTIONS: dict[str, tuple[Any, tuple[str, ...], str]] = {
    "beam_width": (1, ("step-search",), "has a beam"),
    "subtrees": (1, ("step-search",), "has subtrees"),
    "margin": (None, ("step-search",), "drops trajectories"),
    "lookahead": (0, ("step-search",), "looks ahead"),
    "max_tokens": (None, GUIDED, "have a budget"),
    "stop": (None, ("self-consistency",), "stops early"),
    "weigh": (None, ("self-consistency",), "weighs votes"),
    "reduce": (None, SCORED, "reduce the scores of steps"),
    "scorer": ("prm", SCORED, "are guided by a scorer"),
    "supervision": ("implicit", ("rationale-guided",), "is supervised by rationales"),
}


def add_decoding(
    parser: ArgumentParser, *, strategy: str | None, choices: Sequence[str] = STRATEGIES
) -> None:
    """Add the options; without a default strategy the user has to name one."""
    parser.add_argument(
        "--model", default="tiny", help="generator: tiny, a folder or a Hub id (default: tiny)"
    )
    parser.add_argument(
        "--prm",
        default="tiny",
        help="process reward model that best-of-n and step-search are guided by: tiny, a folder, a "
        "Hub id, or URL#MODEL, a chat model at a server that is asked yes or no (default: tiny)",
    )
    parser.add_argument(
        "--scorer",
        choices=("prm", "rationale"),
        default="prm",
        help="what guides them: that, or how likely rationales make each step (default: prm)",
    )
    parser.add_argument(
        "--supervision",
        choices=("implicit", "explicit"),
        default="implicit",
        help="of rationale-guided: rationales score the steps, or the generator reads them "
        "(default: implicit)",
    )
    add_rationales(parser)
    parser.add_argument(
        "--strategy",
        choices=choices,
        default=strategy,
        required=strategy is None,
        help="how to decode" + ("" if strategy is None else f" (default: {strategy})"),
    )
    numbers: list[tuple[str, Callable[[str], Any], Any, str]] = [
        ("--n", int, 8, "candidates a prompt, or next steps a trajectory"),
        ("--beam-width", int, 1, "trajectories that step-search keeps"),
        ("--margin", float, None, "step-search drops what scores lower than its best by more"),
        ("--subtrees", int, 1, "parts of that beam that go their own ways"),
        ("--lookahead", int, 0, "steps that step-search decodes on before it scores a candidate"),
        ("--max-tokens", int, None, "sampled of a prompt at most, over all its candidates"),
        ("--stop", _stop, None, "end the vote early: `decided`, or how sure it has to be"),
        ("--temperature", float, 1.0, "of sampling; greedy ignores it"),
        ("--seed", int, 0, "of sampling"),
    ]
    for name, kind, default, text in numbers:
        text = text if default is None else f"{text} (default: {default})"
        parser.add_argument(name, type=kind, default=default, help=text)
    parser.add_argument(
        "--weigh", choices=("prm",), help="weigh the votes by the process reward model"
    )
    parser.add_argument(
        "--reduce",
        choices=get_args(Reduce),
        help="step scores as one number (default: last for step-search; for best-of-n prod, of "
        "rationales' log-likelihoods mean)",
    )


def _stop(text: str) -> str | float:
    """``decided``, or a probability."""
    return text if text == "decided" else float(text)


def check_decoding(args: Namespace) -> None:
    """Raise before any model is loaded if the options do not go together.

    Raises:
        ValueError: they do not.
    """
    for name in (
        "n",
        "beam_width",
        "subtrees",
        "max_tokens",
        "max_new_tokens",
        "batch_size",
        "limit",
    ):
        value = getattr(args, name, None)
        if value is not None and value < 1:
            raise ValueError(f"got --{name.replace('_', '-')} {value}; need at least 1")
    if args.strategy != "greedy" and not 0 < args.temperature < float("inf"):
        raise ValueError(
            f"got --temperature {args.temperature}; {args.strategy} samples and needs a "
            "temperature above 0 (--strategy greedy samples nothing)"
        )
    if not -(2**63) <= args.seed < 2**63:
        raise ValueError(f"got --seed {args.seed}; need a whole number of at most 63 bits")
    for name, (default, strategies, does) in OPTIONS.items():
        value = getattr(args, name)
        if value != default and args.strategy not in strategies:
            raise ValueError(
                f"got --{name.replace('_', '-')} {value} with {args.strategy}; only "
                f"{' and '.join(strategies)} {does}"
            )


def make_strategy(
    args: Namespace,
    tokenizer: PreTrainedTokenizerBase,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
) -> Any:
    """The strategy that the options name, or ``None`` for plain ``generate``.

    ``state_key`` is the task's, for ``StepSearch``; of prompts from a file nothing is known.
    The models that guide are loaded only where the strategy has use for them.
    """
    if args.strategy in PLAIN:
        return None
    if args.strategy == "self-consistency":
        weigh = None if args.weigh is None else load_verifier(args.prm)
        return SelfConsistency(
            tokenizer=tokenizer,
            n=args.n,
            scorer=weigh,
            early_stop=args.stop,
            max_tokens=args.max_tokens,
        )
    if args.strategy == "rationale-guided":
        return RationaleGuided(
            make_rationalyst(args),
            tokenizer=tokenizer,
            n=args.n,
            supervision=args.supervision,
            max_tokens=args.max_tokens,
        )
    load = load_verifier if args.strategy == "best-of-n" else load_scorer
    scorer = load(args.prm) if args.scorer == "prm" else make_rationalyst(args)
    reduce: dict[str, Any] = {} if args.reduce is None else {"reduce": args.reduce}
    if not reduce and args.scorer == "rationale" and args.strategy == "best-of-n":
        reduce = {"reduce": "mean"}
    if args.strategy == "best-of-n":
        return BestOfN(scorer, tokenizer=tokenizer, n=args.n, max_tokens=args.max_tokens, **reduce)
    return StepSearch(
        scorer,
        tokenizer=tokenizer,
        n=args.n,
        beam_width=args.beam_width,
        subtrees=args.subtrees,
        margin=args.margin,
        lookahead=args.lookahead,
        max_tokens=args.max_tokens,
        state_key=state_key,
        **reduce,
    )
