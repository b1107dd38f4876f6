"""Completers made from options: the model in this process, or one at a server."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from transformers import GenerationConfig, PreTrainedTokenizerBase

from reason_decode.core.model_options import ModelOptions, PromptOptions
from reason_decode.core.options import EngineOptions, GenerationOptions
from reason_decode.evaluation.complete import ModelCompleter
from reason_decode.models.chat_template import has_chat_template
from reason_decode.models.generation_config import (
    Sampling,
    clean_generation_config,
    read_generation_config,
    resolve_sampling,
)
from reason_decode.models.loading import load_model, load_padded_tokenizer, packaged
from reason_decode.scorers.loading import check_scorer_name
from reason_decode.serving.model import ServedModel
from reason_decode.serving.vllm_engine import VLLMModel, load_llm
from reason_decode.strategies.from_options import strategy_from_options

__all__ = [
    "completer_from_options",
    "load_engine",
    "local_model",
    "sampling_from_options",
    "served_model",
    "vllm_model",
]

MAX_NEW_TOKENS = 256


def completer_from_options(
    options: GenerationOptions,
    engine: EngineOptions | None = None,
    *,
    max_new_tokens: int = MAX_NEW_TOKENS,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
    stop: Sequence[str] = (),
) -> ModelCompleter:
    """A completer of prompts by the model and the strategy that the options name.

    Args:
        options: the model, the strategy and its scorer.
        engine: the server that samples; else the model is loaded here.
        max_new_tokens: tokens of a completion, where the options do not say.
        state_key: key of equivalent solutions, see ``StepSearch``.
        stop: texts at which the completion of a text ends.

    Raises:
        OSError: there is no such model, tokenizer or scorer.
        ValueError: options do not go together.
    """
    engine = engine or EngineOptions()
    arguments = dict(sampling_from_options(options, engine).arguments)
    # A rationale model need not say that it is one.
    if options.scoring.scorer is not None and options.strategy != "rationale-guided":
        check_scorer_name(options.scoring.scorer)
    model, tokenizer = load_engine(options.model, engine, options.loading, options.prompting)
    chat = options.prompting.chat and has_chat_template(tokenizer)
    if not chat:
        _check_text_prompts(options, f"the tokenizer of {options.model} has no chat template")
    local = model if engine.engine == "transformers" else None
    return ModelCompleter(
        model,
        tokenizer,
        strategy_from_options(options, tokenizer, state_key, local),
        max_new_tokens=options.max_new_tokens or max_new_tokens,
        temperature=arguments.pop("temperature", 0.0),
        seed=options.seed,
        chat=chat,
        chat_template_kwargs=options.prompting.chat_template_kwargs,
        stop=() if chat else stop,
        thinking_tags=options.thoughts.tags,
        generate_kwargs=arguments,
    )


def load_engine(
    name: str,
    engine: EngineOptions,
    loading: ModelOptions | None = None,
    prompting: PromptOptions | None = None,
) -> tuple[Any, PreTrainedTokenizerBase]:
    """The model that samples, in this process or at a server, and its tokenizer.

    Args:
        name: ``tiny``, a folder or a Hub id; or its name at the server.
        engine: what samples.
        loading: dtype, devices, quantization.
        prompting: whether prompts are rendered as chats.

    Raises:
        ModuleNotFoundError: vLLM is to sample, and is not installed.
        OSError: there is no such model or tokenizer.
        ValueError: options do not go together.
    """
    if engine.urls:
        return served_model(name, engine)
    if engine.engine == "vllm":
        return vllm_model(name, engine, loading)
    return local_model(name, loading, prompting or PromptOptions())


def local_model(
    name: str, loading: ModelOptions | None, prompting: PromptOptions
) -> tuple[Any, PreTrainedTokenizerBase]:
    """A model in this process whose own generation config decides no more, and its tokenizer.

    Args:
        name: ``tiny``, a folder or a Hub id.
        loading: dtype, devices, quantization.
        prompting: whether prompts are rendered as chats.

    Raises:
        OSError: there is no such model.
        ValueError: options do not go together.
    """
    loaded, tokenizer = load_model(name, loading)
    model: Any = loaded
    # The model is ours, so its own config can be replaced: generate would take from it whatever it
    # is not given.
    chat = prompting.chat and has_chat_template(tokenizer)
    model.generation_config = clean_generation_config(model.generation_config, tokenizer, chat=chat)
    return model, tokenizer


def served_model(name: str, engine: EngineOptions) -> tuple[ServedModel, PreTrainedTokenizerBase]:
    """A model at a server, and its tokenizer.

    Args:
        name: the model's name there.
        engine: the server.

    Raises:
        ValueError: no tokenizer is named, and the model's name is that of none.
    """
    folder = engine.tokenizer or (str(packaged("base")) if name == "tiny" else name)
    try:
        tokenizer = load_padded_tokenizer(folder)
    except (OSError, ValueError) as error:
        if engine.tokenizer is not None:
            raise
        raise ValueError(
            f"got the model {name} at a server, and no tokenizer of that name ({error}); name the "
            "folder or Hub id of the model's tokenizer (--tokenizer), which renders prompts"
        ) from error
    model = ServedModel(
        engine.urls,
        name,
        tokenizer,
        server=engine.server,
        concurrency=engine.concurrency,
        seeds=engine.seeds,
        api_key_env=engine.api_key_env,
        attempts=engine.attempts,
        timeout=engine.timeout,
        total_timeout=engine.total_timeout,
        extra_body=engine.extra_body,
    )
    return model, tokenizer


def vllm_model(
    name: str, engine: EngineOptions, loading: ModelOptions | None
) -> tuple[VLLMModel, PreTrainedTokenizerBase]:
    """A model of vLLM in this process, and its tokenizer.

    Args:
        name: ``tiny``, a folder or a Hub id.
        engine: seeds, tokenizer and further fields of requests.
        loading: dtype of the weights; ``auto``: that of the checkpoint.

    Raises:
        ModuleNotFoundError: vLLM is not installed.
    """
    folder = str(packaged("base")) if name == "tiny" else name
    tokenizer = load_padded_tokenizer(engine.tokenizer or folder)
    dtype = (loading or ModelOptions()).dtype
    llm = load_llm(folder, dtype=dtype or "auto")
    return VLLMModel(llm, tokenizer, seeds=engine.seeds, extra=engine.extra_body), tokenizer


def sampling_from_options(
    options: GenerationOptions, engine: EngineOptions | None = None
) -> Sampling:
    """The sampling arguments of ``generate``, from the options and the model's checkpoint.

    Args:
        options: the model and the options of sampling.
        engine: the server that has the checkpoint, if it is not here; it is not asked.

    Raises:
        ValueError: generation_config.json of the checkpoint, or the file of the options, cannot be
            used.
    """
    config = GenerationConfig()
    if engine is None or not engine.urls:
        folder = packaged("base") if options.model == "tiny" else options.model
        config = read_generation_config(folder)
    return resolve_sampling(options.sampling, config, greedy=options.strategy == "greedy")


def _check_text_prompts(options: GenerationOptions, why: str) -> None:
    """Raise if the options are about conversations, which there are none of."""
    for name in ("system", "chat_template_kwargs"):
        if value := getattr(options.prompting, name):
            raise ValueError(f"got {name}={value!r:.60}, and {why}; drop it")
