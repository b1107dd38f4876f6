"""Settings that the results of a resumable command depend on, and the line that shows them."""

import sys
from collections.abc import Collection, Mapping
from typing import Any

from reason_decode.core.options import EngineOptions, GenerationOptions, flatten_options
from reason_decode.runs.options import RunOptions
from reason_decode.runs.settings import run_settings
from reason_decode.serving.from_options import sampling_from_options

__all__ = ["sampling_of", "settings_of"]

# Options that do not change the results of any command.
_IGNORED = {
    *("input", "output", "engine", "server", "api_key_env", "concurrency", "attempts"),
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
    if "engine" in given:
        options["served"] = given["engine"] != "transformers"  # its address does not matter
    if options.get("scorer"):
        options["scorer_folder"] = options["scorer"].rpartition("=")[2]
    models = [x for x in ("model", "scorer_folder", "likelihood_model") if x in options]
    return run_settings(options, models=models, items=items)


def sampling_of(options: GenerationOptions, engine: EngineOptions) -> Mapping[str, Any]:
    """The sampling arguments of the model, printed.

    Args:
        options: the model and its options.
        engine: the engine that samples.

    Raises:
        ValueError: the checkpoint's generation config, or the file of the options, cannot be used.
    """
    sampling = sampling_from_options(options, engine)
    print(f"{options.strategy} of {options.model}: {sampling}", file=sys.stderr)
    return sampling.arguments
