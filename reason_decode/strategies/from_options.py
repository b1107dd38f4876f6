"""Strategies, selectors and scorers made from ``GenerationOptions``."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from transformers import PreTrainedModel, PreTrainedTokenizerBase
from transformers.generation.streamers import BaseStreamer

from reason_decode.core.options import PLAIN, GenerationOptions, ScorerOptions
from reason_decode.core.splitting import StepSplitter
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.loading import LanguageModel, load_rationale_scorer, load_scorer
from reason_decode.scorers.openai import EndpointVerifier
from reason_decode.scorers.served import load_served_scorer
from reason_decode.strategies.best_of_n import BestOfN
from reason_decode.strategies.particle_filter import ParticleFilter
from reason_decode.strategies.rationale_guided import RationaleGuided
from reason_decode.strategies.self_consistency import SelfConsistency
from reason_decode.strategies.step_search import StepSearch

__all__ = [
    "scorer_from_options",
    "strategy_from_options",
    "strategy_with_scorer",
]


def strategy_from_options(
    options: GenerationOptions,
    tokenizer: PreTrainedTokenizerBase,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
    model: PreTrainedModel | None = None,
) -> Any:
    """The strategy that the options name, with its scorer loaded; ``None`` for plain ``generate``.

    Args:
        options: the strategy, its numbers and its scorer.
        tokenizer: the generator's tokenizer.
        state_key: key of equivalent solutions, see ``StepSearch``; a task has one.
        model: the generator, for scorers such as ``likelihood``; ``None`` if it is at a server.

    Raises:
        OSError: there is no such scorer.
        ValueError: the scorer cannot be used by the strategy.
    """
    if options.strategy in PLAIN:
        return None
    generator = None if model is None else (model, tokenizer)
    if options.strategy == "self-consistency":
        scorer = _vote_scorer(options, generator)
    elif options.strategy == "rationale-guided":
        scorer = _rationale_scorer(options, generator)
    else:
        scorer = scorer_from_options(
            options.scoring,
            whole_solutions=options.strategy == "best-of-n",
            generator=generator,
            splitter=options.solutions.splitter,
        )
    return strategy_with_scorer(options, tokenizer, scorer, state_key=state_key)


def strategy_with_scorer(
    options: GenerationOptions,
    tokenizer: PreTrainedTokenizerBase,
    scorer: Any,
    *,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
    streamer: BaseStreamer | None = None,
) -> Any:
    """The strategy that the options name, with a scorer that is loaded already.

    Args:
        options: the strategy, which is none of plain ``generate``, and its numbers.
        tokenizer: the generator's tokenizer.
        scorer: the strategy's scorer; ``None`` for a vote without one.
        state_key: as in ``strategy_from_options``.
        streamer: see ``Strategy``.

    Raises:
        ValueError: the scorer cannot be used by the strategy.
    """
    common: dict[str, Any] = {
        "tokenizer": tokenizer,
        "streamer": streamer,
        "n": options.n,
        "max_tokens": options.max_tokens,
        "thinking_tags": options.thoughts.tags,
    }
    if options.strategy == "self-consistency":
        return SelfConsistency(
            **common,
            scorer=scorer,
            vote_weighting=options.vote_weighting,
            top=options.vote_top,
            warm_up=options.vote_warm_up,
            check_every=options.vote_check_every,
            early_stop=options.early_stop,
            score_part=options.thoughts.score_part,
        )
    if options.strategy == "rationale-guided":
        return RationaleGuided(scorer, **common, supervision=options.supervision)
    if options.reduce is not None:
        common["reduce"] = options.reduce
    if options.strategy == "best-of-n":
        return BestOfN(
            scorer,
            **common,
            score_part=options.thoughts.score_part,
            reject=options.reject,
            reject_every=options.reject_every,
        )
    if options.strategy == "particle-filter":
        return ParticleFilter(
            scorer,
            **common,
            temperature=options.score_temperature,
            resampling=options.resampling,
        )
    return StepSearch(
        scorer,
        **common,
        beam_width=options.beam_width,
        subtrees=options.subtrees,
        margin=options.margin,
        lookahead=options.lookahead,
        score_part=options.thoughts.score_part,
        state_key=state_key,
    )


def scorer_from_options(
    options: ScorerOptions,
    *,
    whole_solutions: bool = True,
    generator: LanguageModel | None = None,
    splitter: StepSplitter | None = None,
) -> Scorer:
    """The scorer that the options name, on the default device; ``tiny`` if they name none.

    Args:
        options: the scorer.
        whole_solutions: whether solutions are scored once they are complete, see ``load_scorer``.
        generator: the generator and its tokenizer, for scorers such as ``likelihood``.
        splitter: where solutions are split into steps; ``None``: as the scorer has it.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: it is not a scorer, or an option does not go with it.
    """
    if options.scorer_endpoint is not None:
        if splitter is not None and generator is not None:
            splitter = splitter.with_tokenizer(generator[1])
        if options.scorer_layout is not None:
            return load_served_scorer(
                options.scorer_layout,
                options.scorer_endpoint,
                str(options.scorer_model),
                splitter=splitter,
            )
        return EndpointVerifier(
            options.scorer_endpoint, str(options.scorer_model), splitter=splitter or StepSplitter()
        )
    return load_scorer(
        options.scorer or "tiny",
        whole_solutions=whole_solutions,
        generator=generator,
        likelihood_model=options.likelihood_model,
        discount=options.discount,
        contrastive=options.contrastive,
        length_normalize=options.length_norm,
        splitter=splitter,
    )


def _vote_scorer(options: GenerationOptions, generator: LanguageModel | None) -> Scorer | None:
    if not options.scoring.is_given:
        return None
    return scorer_from_options(
        options.scoring, generator=generator, splitter=options.solutions.splitter
    )


def _rationale_scorer(options: GenerationOptions, generator: LanguageModel | None) -> Any:
    """The scorer of rationale guidance, where a folder need not be called ``rationale=folder``."""
    scoring = options.scoring
    name = scoring.scorer or "tiny"
    word, _, folder = name.partition("=")
    if word != "rationale":
        folder = name
    return load_rationale_scorer(
        folder or "tiny",
        scoring.likelihood_model,
        generator=None if folder else generator,
        discount=scoring.discount,
        contrastive=scoring.contrastive,
        length_normalize=scoring.length_norm,
        splitter=options.solutions.splitter,
    )
