"""What continues prompts: the model in this process, or a server's."""

from argparse import Namespace
from collections.abc import Callable, Hashable, Sequence

from reason_decode.cli.options import make_strategy
from reason_decode.cli.served import make_served
from reason_decode.evaluation.complete import Completer, local
from reason_decode.models.loading import load_model

__all__ = ["make_solve"]


def make_solve(
    args: Namespace,
    max_new_tokens: int,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
) -> Completer:
    """What the options ask for.

    Args:
        args: of ``add_decoding`` and ``add_served``.
        max_new_tokens: tokens a solution may have.
        state_key: see ``StepSearch``.

    Raises:
        ValueError: options that do not go together.
    """
    temperature = 0.0 if args.strategy == "greedy" else args.temperature
    if args.endpoint:
        return make_served(args, max_new_tokens, temperature)
    model, tokenizer = load_model(args.model)
    return local(
        model,
        tokenizer,
        make_strategy(args, tokenizer, state_key),
        max_new_tokens=max_new_tokens,
        temperature=temperature,
        seed=args.seed,
    )
