"""Settings that the results of a resumable command depend on, and the line that shows them."""

import sys
from collections.abc import Collection, Mapping
from typing import Any

from reason_decode.core.options import EndpointOptions, GenerationOptions, flatten_options
from reason_decode.runs.options import RunOptions
from reason_decode.runs.settings import run_settings
from reason_decode.serving.from_options import sampling_from_options

__all__ = ["sampling_of", "settings_of"]

# Options that do not change the results of any command.
_IGNORED = {
    *("input", "output", "endpoint", "api_key_env", "concurrency", "attempts"),
    *("timeout", "total_timeout"),
    *("index", "count", *flatten_options(RunOptions())),
}


def settings_of(config: Any, items: Any, ignored: Collection[str] = ()) -> dict[str, Any]:
    """Settings of a command's run; see ``run_settings``.

    Args:
        config: the command's config.
        items: anything whose ``repr`` shows all that results depend on.
        ignored: further options that do not change the results.
    """
    given = flatten_options(config)
    options = {name: x for name, x in given.items() if name not in {*_IGNORED, *ignored}}
    if "endpoint" in given:
        options["served"] = given["endpoint"] is not None  # its address does not matter
    if options.get("scorer"):
        options["scorer_folder"] = options["scorer"].rpartition("=")[2]
    models = [x for x in ("model", "scorer_folder", "likelihood_model") if x in options]
    return run_settings(options, models=models, items=items)


def sampling_of(options: GenerationOptions, endpoint: EndpointOptions) -> Mapping[str, Any]:
    """The sampling arguments of a model in this process, printed; none for one at a server.

    Args:
        options: the model and its options.
        endpoint: the server, if it has an address.

    Raises:
        ValueError: the checkpoint's generation config, or the file of the options, cannot be used.
    """
    if endpoint.endpoint is not None:
        if options.prompting.chat and endpoint.tokenizer is None:
            print(
                "prompts are sent as text, without a chat template; --tokenizer renders them",
                file=sys.stderr,
            )
        return {}
    sampling = sampling_from_options(options)
    print(f"{options.strategy} of {options.model}: {sampling}", file=sys.stderr)
    return sampling.arguments
