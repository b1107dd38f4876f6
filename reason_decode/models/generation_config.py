"""Sampling arguments of ``generate``: from options, a file, and the checkpoint's generation config.

A checkpoint's generation_config.json may ask for another decoding method (beams, contrastive
search) or for a length. Only what shapes the distribution of the next token is taken from it, alike
for every strategy; the rest is named and not used.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from transformers import GenerationConfig

from reason_decode.core.model_options import ABOVE_0, SamplingOptions

__all__ = ["Sampling", "clean_generation_config", "read_generation_config", "resolve_sampling"]

# Their values that change nothing. They only matter where tokens are drawn.
_WARPERS: dict[str, Any] = {
    "temperature": 1.0,
    "top_k": 0,
    "top_p": 1.0,
    "min_p": None,
    "top_h": None,
    "typical_p": 1.0,
    "epsilon_cutoff": 0.0,
    "eta_cutoff": 0.0,
}
# They change the scores of tokens for greedy decoding, too.
_PENALTIES: dict[str, Any] = {
    "repetition_penalty": 1.0,
    "no_repeat_ngram_size": 0,
    "bad_words_ids": None,
    "suppress_tokens": None,
    "begin_suppress_tokens": None,
    "sequence_bias": None,
}
_USED = {**_WARPERS, **_PENALTIES}
# What says nothing about the next token, and what the commands' own options say.
_NO_MATTER = {
    *("bos_token_id", "eos_token_id", "pad_token_id", "transformers_version", "do_sample"),
    *("max_length", "max_new_tokens", "use_cache", "cache_implementation", "cache_config"),
    *("return_dict_in_generate", "output_attentions", "output_hidden_states", "output_scores"),
    *("output_logits", "trust_remote_code", "chat_format", "max_window_size"),
}
_OF_COMMANDS = {
    "do_sample": "--strategy",
    "max_new_tokens": "--max-new-tokens",
    "max_length": "--max-new-tokens",
    "num_return_sequences": "--n",
    "num_beams": "--strategy step-search --beam-width",
}


@dataclass(frozen=True)
class Sampling:
    """Arguments of ``generate`` that shape the distribution of the next token.

    Args:
        arguments: the arguments; neutral ones are there where transformers' default is not neutral.
        unused: what the checkpoint's generation config says besides, which is not used.
    """

    arguments: Mapping[str, Any]
    unused: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        shown = {k: x for k, x in self.arguments.items() if k in ("temperature",) or x != _USED[k]}
        text = ", ".join(f"{name} {value}" for name, value in shown.items())
        text = text or "the likeliest token each"
        if self.unused:
            named = ", ".join(f"{name}={value}" for name, value in self.unused.items())
            text += f"; the checkpoint's generation config says {named}, which is not used"
        return text


def read_generation_config(path_or_id: str | Path) -> GenerationConfig:
    """The generation config of a checkpoint; an empty one where it has none.

    Args:
        path_or_id: a folder or a Hub id.

    Raises:
        ValueError: it cannot be read, or an end or padding token in it is no token id.
    """
    try:
        config = GenerationConfig.from_pretrained(path_or_id)
    except OSError:
        return GenerationConfig()
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(
            f"generation_config.json of {path_or_id} cannot be read: {error}; mend or delete it"
        ) from error
    for name in ("eos_token_id", "pad_token_id", "bos_token_id"):
        value = getattr(config, name)
        ids = value if isinstance(value, list) and name == "eos_token_id" else [value]
        if value is not None and not all(type(x) is int and x >= 0 for x in ids):
            raise ValueError(
                f"generation_config.json of {path_or_id} says {name}={value!r:.60}; need a token "
                "id: mend it there"
            )
    return config


def resolve_sampling(
    options: SamplingOptions, config: GenerationConfig, *, greedy: bool
) -> Sampling:
    """The sampling arguments: from the options, else their file, else the checkpoint, else neutral.

    Args:
        options: the options.
        config: the checkpoint's generation config.
        greedy: whether nothing is drawn, so that only penalties matter.

    Raises:
        ValueError: the options' file cannot be used.
        OSError: it cannot be read.
    """
    said = {name: x for name, x in config.to_diff_dict().items() if x is not None}
    from_file = {} if options.generation is None else _read_file(options.generation)
    # By a temperature of 0 some checkpoints ask for greedy decoding, which the strategy decides.
    known = {k: x for k, x in said.items() if k in _USED and (k, x) != ("temperature", 0)}
    _check("the checkpoint's generation_config.json", known)
    arguments = {**known, **from_file, **options.given}
    if not greedy:
        arguments = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, **arguments}
        if not arguments["temperature"]:
            raise ValueError(f"--generation {options.generation} says temperature 0; {ABOVE_0}")
    else:
        arguments = {name: x for name, x in arguments.items() if name not in _WARPERS}
    unused = {
        name: x
        for name, x in said.items()
        if name not in known and name not in _NO_MATTER and not name.startswith("_")
    }
    return Sampling(arguments, unused)


def clean_generation_config(
    config: GenerationConfig, tokenizer: Any, *, chat: bool
) -> GenerationConfig:
    """A generation config that has the special tokens of another one, and nothing else.

    Args:
        config: the model's.
        tokenizer: the model's, for the padding token, and for the end of a turn in a chat.
        chat: whether prompts are conversations, which end with the tokenizer's end token.
    """
    ends = config.eos_token_id
    ids = [] if ends is None else list(ends) if isinstance(ends, list) else [ends]
    if (chat or not ids) and tokenizer.eos_token_id is not None:
        ids += [x for x in [tokenizer.eos_token_id] if x not in ids]
    return GenerationConfig(
        bos_token_id=config.bos_token_id,
        eos_token_id=ids or None,
        pad_token_id=tokenizer.pad_token_id,
    )


def _read_file(path: str) -> dict[str, Any]:
    """The sampling arguments of a YAML or JSON file."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(f"--generation {path} is not YAML: {reason}") from error
    if not isinstance(content, dict):
        raise ValueError(
            f"--generation {path} holds {content!r:.80}; write a line `option: value` each, such "
            "as `top_p: 0.9`"
        )
    found: dict[str, Any] = {}
    for name, value in content.items():
        if name in _USED:
            found[name] = value
        elif name not in _NO_MATTER or name in _OF_COMMANDS:
            instead = f"give {_OF_COMMANDS[name]}" if name in _OF_COMMANDS else "drop it"
            raise ValueError(
                f"--generation {path} says {name}={value!r:.60}, which is no option of sampling; "
                f"{instead}. Allowed are {', '.join(_USED)}"
            )
    _check(f"--generation {path}", found)
    return found


def _check(source: str, values: Mapping[str, Any]) -> None:
    """Raise if a value of a file is out of range, with the file's name."""
    names = SamplingOptions.__dataclass_fields__
    try:
        SamplingOptions(**{name: x for name, x in values.items() if name in names})
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: {error}") from error
