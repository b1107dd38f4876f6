"""Completers made from options: the model in this process, or one at a server."""

from collections.abc import Callable, Hashable, Sequence

from reason_decode.core.options import EndpointOptions, GenerationOptions
from reason_decode.evaluation.complete import Completer, local_completer
from reason_decode.io.openai_client import CompletionEndpoint
from reason_decode.models.loading import load_model
from reason_decode.serving.completion import endpoint_completer
from reason_decode.strategies.from_options import selector_from_options, strategy_from_options

__all__ = ["completer_from_options"]

MAX_NEW_TOKENS = 256


def completer_from_options(
    options: GenerationOptions,
    endpoint: EndpointOptions | None = None,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
) -> Completer:
    """A completer of prompts by the model and the strategy that the options name.

    Args:
        options: the model, the strategy and its scorer.
        endpoint: the server that samples, if it has an address; else the model is loaded here.
        max_new_tokens: tokens of a completion, where the options do not say.
        state_key: key of equivalent solutions, see ``StepSearch``.

    Raises:
        OSError: there is no such model or scorer.
        ValueError: options do not go together.
    """
    length = options.max_new_tokens or max_new_tokens
    temperature = 0.0 if options.strategy == "greedy" else options.temperature
    if endpoint is None or endpoint.endpoint is None:
        model, tokenizer = load_model(options.model)
        return local_completer(
            model,
            tokenizer,
            strategy_from_options(options, tokenizer, state_key, model),
            max_new_tokens=length,
            temperature=temperature,
            seed=options.seed,
        )
    endpoint.check_strategy(options)
    server = CompletionEndpoint(
        endpoint.endpoint,
        options.model,
        api_key_env=endpoint.api_key_env,
        concurrency=endpoint.concurrency,
        attempts=endpoint.attempts,
        max_tokens=length,
        extra_body={"temperature": temperature, **endpoint.extra_body},
    )
    n = options.n if options.compares_candidates else 1
    return endpoint_completer(server, selector_from_options(options), n=n, seed=options.seed)
