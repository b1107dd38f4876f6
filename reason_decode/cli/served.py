"""The options of decoding by a server, and what they stand for."""

import json
from argparse import ArgumentParser, Namespace
from typing import Any

from reason_decode.cli.options import PLAIN, make_strategy
from reason_decode.evaluation.complete import Completer
from reason_decode.io.openai_client import TextEndpoint
from reason_decode.serving.completion import served

__all__ = ["add_served", "check_served", "make_served"]

# What picks among whole solutions, wherever they are from.
STRATEGIES = (*PLAIN, "best-of-n", "self-consistency")


class Elsewhere:
    """In the place of the generator's tokenizer, which the server has: texts come whole."""

    def decode(self, *_: Any) -> str:
        """Never called: no token ids come from a server."""
        raise NotImplementedError("the generator's tokenizer is at the server")


def add_served(parser: ArgumentParser) -> None:
    """Add the options."""
    parser.add_argument(
        "--endpoint",
        metavar="URL",
        help="sample from --model at a server of OpenAI's form (vLLM, SGLang, transformers serve), "
        "by URL/completions, such as http://localhost:8000/v1; scorers run here",
    )
    parser.add_argument(
        "--key", default="OPENAI_API_KEY", metavar="VARIABLE", help="that holds the server's key"
    )
    parser.add_argument("--concurrency", type=int, default=8, help="requests at once (default: 8)")
    parser.add_argument("--attempts", type=int, default=6, help="to make one request (default: 6)")
    parser.add_argument(
        "--request",
        type=json.loads,
        default={},
        metavar="JSON",
        help="put into every request, such as '{\"top_k\": -1}' (transformers serve samples only "
        "where the model's generation_config.json says do_sample)",
    )


def check_served(args: Namespace) -> None:
    """Raise before any work is spent if the options do not go together.

    Raises:
        ValueError: they do not.
    """
    if args.endpoint is None:
        if args.request:
            raise ValueError("got --request without --endpoint, where there are no requests")
        return
    if not isinstance(args.request, dict):
        raise ValueError(f"got --request {json.dumps(args.request)}; need a JSON object")
    if args.strategy not in STRATEGIES:
        raise ValueError(
            f"got --endpoint with {args.strategy}, which goes step by step and needs the model in "
            f"this process; a server samples for {', '.join(STRATEGIES)}"
        )
    for name in ("stop", "max_tokens"):
        if getattr(args, name) is not None:
            raise ValueError(
                f"got --endpoint with --{name.replace('_', '-')}; a server is asked for all "
                "candidates at once"
            )


def make_served(args: Namespace, max_new_tokens: int, temperature: float) -> Completer:
    """What continues prompts by the server.

    Raises:
        ValueError: an address that is none, or a number that must be positive.
    """
    endpoint = TextEndpoint(
        args.endpoint,
        args.model,
        key=args.key,
        concurrency=args.concurrency,
        attempts=args.attempts,
        max_tokens=max_new_tokens,
        options={"temperature": temperature, **args.request},
    )
    elsewhere: Any = Elsewhere()
    strategy = make_strategy(args, elsewhere)
    n = 1 if args.strategy in PLAIN else args.n
    return served(endpoint, strategy, n=n, seed=args.seed)
