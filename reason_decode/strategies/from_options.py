"""Strategies, selectors and scorers made from ``GenerationOptions``."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from reason_decode.core.options import PLAIN, GenerationOptions, ScorerOptions
from reason_decode.scorers.loading import load_rationalyst, load_scorer, load_verifier
from reason_decode.scorers.openai import EndpointVerifier
from reason_decode.strategies.best_of_n import BestOfN
from reason_decode.strategies.rationale_guided import RationaleGuided
from reason_decode.strategies.selection import BestOfNSelector, Selector, VoteSelector
from reason_decode.strategies.self_consistency import SelfConsistency
from reason_decode.strategies.step_search import StepSearch

__all__ = ["scorer_from_options", "selector_from_options", "strategy_from_options"]


def strategy_from_options(
    options: GenerationOptions,
    tokenizer: PreTrainedTokenizerBase,
    state_key: Callable[[Sequence[str]], Hashable] | None = None,
) -> Any:
    """The strategy that the options name, with its scorer loaded; ``None`` for plain ``generate``.

    Args:
        options: the strategy, its numbers and its scorer.
        tokenizer: the generator's tokenizer.
        state_key: key of equivalent solutions, see ``StepSearch``; a task has one.

    Raises:
        OSError: there is no such scorer.
        ValueError: the scorer cannot be used by the strategy.
    """
    if options.strategy in PLAIN:
        return None
    common: dict[str, Any] = {
        "tokenizer": tokenizer,
        "n": options.n,
        "max_tokens": options.max_tokens,
    }
    if options.strategy == "self-consistency":
        scorer = _vote_scorer(options)
        return SelfConsistency(**common, scorer=scorer, early_stop=options.early_stop)
    if options.strategy == "rationale-guided":
        scorer = _rationale_scorer(options.scoring)
        return RationaleGuided(scorer, **common, supervision=options.supervision)
    whole = options.strategy == "best-of-n"
    scorer = scorer_from_options(options.scoring, whole_solutions=whole)
    if whole:
        return BestOfN(scorer, **common, reduce=options.reduce)
    if options.reduce is not None:
        common["reduce"] = options.reduce
    return StepSearch(
        scorer,
        **common,
        beam_width=options.beam_width,
        subtrees=options.subtrees,
        margin=options.margin,
        lookahead=options.lookahead,
        state_key=state_key,
    )


def selector_from_options(options: GenerationOptions) -> Selector | None:
    """The selector of best-of-n or a vote, for candidates that are sampled elsewhere.

    Args:
        options: the strategy and its scorer.

    Returns:
        ``None`` where the strategy compares no candidates.

    Raises:
        OSError: there is no such scorer.
        ValueError: the strategy goes step by step, or cannot use the scorer.
    """
    if options.strategy in PLAIN:
        return None
    if options.strategy == "self-consistency":
        return VoteSelector(_vote_scorer(options))
    if options.strategy == "best-of-n":
        return BestOfNSelector(scorer_from_options(options.scoring), reduce=options.reduce)
    raise ValueError(
        f"got strategy={options.strategy!r}, which goes step by step and needs the model in this "
        "process; 'best-of-n' and 'self-consistency' choose among whole solutions"
    )


def scorer_from_options(options: ScorerOptions, *, whole_solutions: bool = True) -> Any:
    """The scorer that the options name, on a GPU if there is one; ``tiny`` if they name none.

    Args:
        options: the scorer.
        whole_solutions: of ``tiny``, the verifier of whole solutions, not the process reward model.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: it is not a scorer.
    """
    if options.scorer_endpoint is not None:
        return EndpointVerifier(options.scorer_endpoint, str(options.scorer_model))
    if _word(options) == "rationale":
        return _rationale_scorer(options)
    load = load_verifier if whole_solutions else load_scorer
    return load(options.scorer or "tiny")


def _vote_scorer(options: GenerationOptions) -> Any:
    return scorer_from_options(options.scoring) if options.scoring.is_given else None


def _rationale_scorer(options: ScorerOptions) -> Any:
    name = options.scorer or "tiny"
    if _word(options) == "rationale":
        name = name.partition("=")[2] or "tiny"
    return load_rationalyst(
        name,
        options.likelihood_model,
        discount=options.discount,
        subtract=options.contrastive,
        mean=options.length_norm,
    )


def _word(options: ScorerOptions) -> str:
    return (options.scorer or "").partition("=")[0]
