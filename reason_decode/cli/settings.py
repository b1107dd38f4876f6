"""Settings that the results of a resumable command depend on."""

from collections.abc import Collection
from typing import Any

from reason_decode.core.options import flatten_options
from reason_decode.runs.options import RunOptions
from reason_decode.runs.settings import run_settings

__all__ = ["settings_of"]

# Options that do not change the results of any command.
_IGNORED = {
    *("input", "output", "endpoint", "api_key_env", "concurrency", "attempts"),
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
