"""Scorers by name: ``tiny``, a folder or Hub id, a word, or ``word=folder``."""

from pathlib import Path
from typing import Any, Literal, cast, get_args

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from reason_decode.core.splitting import StepSplitter
from reason_decode.models.checkpoint import checkpoint_errors, load_config
from reason_decode.models.devices import default_device
from reason_decode.models.loading import load_model, packaged
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.confidence import ConfidenceScorer
from reason_decode.scorers.ensemble import Combine, EnsembleScorer
from reason_decode.scorers.likelihood import LikelihoodScorer
from reason_decode.scorers.ngram.ranker import NGramRanker
from reason_decode.scorers.outcome import OutcomeRewardModel
from reason_decode.scorers.prm_formats import (
    FORMATS,
    Generative,
    OutcomeCheckpoint,
    Rating,
    detect_format,
)
from reason_decode.scorers.process import ProcessRewardModel
from reason_decode.scorers.ranking import RankingModel, has_ranking_head
from reason_decode.scorers.rationale import CONFIG_KEY, RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter

__all__ = [
    "LanguageModel",
    "ScorerKind",
    "check_scorer_name",
    "load_rationale_scorer",
    "load_scorer",
    "scorer_kind",
]

LanguageModel = tuple[PreTrainedModel, PreTrainedTokenizerBase]
"""A language model with its tokenizer."""

ScorerKind = Literal["prm", "orm", "ranker", "ngram-ranker", "rationale"]
"""Kinds of scorers that are recognised by a checkpoint's files."""

WORDS = ("likelihood", "rationale", "prm", "orm", "ranker", *FORMATS)
"""Words of ``word=folder``; those in ``_ALONE`` may also be used without a folder."""

COMBINATIONS: tuple[str, ...] = get_args(Combine)
"""Words of ``word=scorer,scorer``."""

_JUDGES = {kind.format: kind for kind in (Generative, Rating)}
_ALONE = ("likelihood", "rationale", *_JUDGES)
_ALLOWED = (
    "allowed are tiny; a folder or Hub id of a reward model, a ranker or a rationale model; "
    f"{', '.join(_ALONE)}, which score with the generator; confidence, confidence=measure or "
    "confidence=measure:window, which read its logits; word=folder with the word one of "
    f"{', '.join(WORDS)}; and mean=a,b, min=a,b or lower-bound=a,b, which combine scorers. A "
    "server's model is an EndpointVerifier (--scorer-endpoint)"
)


def load_scorer(
    spec: str,
    *,
    whole_solutions: bool = False,
    generator: LanguageModel | None = None,
    likelihood_model: str | None = None,
    discount: float = 1.0,
    contrastive: bool = False,
    length_normalize: bool = True,
    splitter: StepSplitter | None = None,
) -> Scorer:
    """The scorer of a name, on the default device.

    - ``tiny``: the packaged process reward model; for whole solutions with half of its neutral
      label counted as right.
    - a folder or a Hub id: the kind is detected by its files, see ``scorer_kind``.
    - ``likelihood``, ``generative``, ``rating`` or ``rationale``: the generator itself scores;
      without a generator, or with the packaged one, ``rationale`` is the packaged rationale model.
    - ``confidence``, ``confidence=measure`` or ``confidence=measure:window``, such as
      ``confidence=group:256``: the generator's logits as it samples; see ``ConfidenceScorer``.
    - ``mean=a,b``, ``min=a,b`` or ``lower-bound=a,b``: several of these; see ``EnsembleScorer``.
    - ``word=folder``: a scorer of that kind from a folder, a Hub id or ``tiny``. The words are
      ``likelihood``, ``rationale``, ``prm``, ``orm``, ``ranker`` and the names of the formats of
      process reward models, such as ``generative``.

    Args:
        spec: the name.
        whole_solutions: whether solutions are scored once they are complete, as by best-of-n and
            votes, and not step by step; a likelihood is then one number for the solution.
        generator: the generator and its tokenizer, for the words without a folder.
        likelihood_model: of rationale models, the folder or Hub id of the model that measures how
            likely a step is; ``None``: the one that writes the rationales.
        discount: of rationale models, see ``RationaleScorer``.
        contrastive: of rationale models, see ``RationaleScorer``.
        length_normalize: of rationale models and likelihoods, see ``RationaleScorer``.
        splitter: where solutions are split into steps; ``None``: as the scorer has it.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the name is none of these, a word needs a generator, the checkpoint is of
            another kind, or an option does not go with the kind.

    Examples:
        >>> from reason_decode.scorers.loading import load_scorer
        >>> type(load_scorer("tiny")).__name__, type(load_scorer("orm=tiny")).__name__
        ('TokenClassification', 'OutcomeRewardModel')
    """
    options: dict[str, Any] = {
        "whole_solutions": whole_solutions,
        "generator": generator,
        "likelihood_model": likelihood_model,
        "discount": discount,
        "contrastive": contrastive,
        "length_normalize": length_normalize,
        "splitter": splitter,
    }
    word, folder = _parse(spec)
    if word in COMBINATIONS:
        members = [load_scorer(member, **options) for member in folder.split(",")]
        return EnsembleScorer(members, combine=cast(Combine, word))
    return _load_one(spec, word or scorer_kind(folder), folder, **options)


def _load_one(
    spec: str,
    kind: str,
    folder: str,
    *,
    whole_solutions: bool,
    generator: LanguageModel | None,
    likelihood_model: str | None,
    discount: float,
    contrastive: bool,
    length_normalize: bool,
    splitter: StepSplitter | None,
) -> Scorer:
    """The scorer of a name that combines no others; see ``load_scorer``."""
    if kind == "rationale":
        return load_rationale_scorer(
            folder or "tiny",
            likelihood_model,
            generator=None if folder else generator,
            discount=discount,
            contrastive=contrastive,
            length_normalize=length_normalize,
            splitter=splitter,
        )
    if likelihood_model is not None or discount != 1.0 or contrastive:
        raise ValueError(
            f"got scorer {spec!r} with options of rationale models (likelihood_model, discount, "
            "contrastive); leave them out, or name a rationale model: rationale=folder"
        )
    if kind == "likelihood":
        model, tokenizer = _language_model(kind, folder, generator)
        return LikelihoodScorer(
            model,
            tokenizer,
            splitter=splitter,
            per_step=not whole_solutions,
            length_normalize=length_normalize,
        )
    if kind == "confidence":
        return _confidence(folder, per_step=not whole_solutions, splitter=splitter)
    if not length_normalize:
        raise ValueError(
            f"got scorer {spec!r} with length_normalize=False, which is an option of likelihoods "
            "and rationale models; leave it out"
        )
    if kind in _JUDGES:
        model, tokenizer = _language_model(kind, folder, generator)
        return _JUDGES[kind](model, tokenizer, splitter=splitter)
    return _reward_model(kind, folder, whole_solutions, splitter)


def scorer_kind(path_or_id: str | Path) -> ScorerKind:
    """The kind of scorer that a checkpoint holds, detected by its files.

    Args:
        path_or_id: a folder or a Hub id.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: it is no scorer, or a plain language model, which can be one of several.
    """
    if NGramRanker.is_saved_in(path_or_id):
        return "ngram-ranker"
    config = load_config(path_or_id)
    architectures = ", ".join(config.architectures or ["an unnamed architecture"])
    if "ForSequenceClassification" in architectures:
        return "orm"
    if CONFIG_KEY in config.to_dict():
        return "rationale"
    if not architectures.endswith(("ForCausalLM", "ForTokenClassification")):
        if has_ranking_head(path_or_id):
            return "ranker"
    try:
        detect_format(path_or_id, config)
    except OutcomeCheckpoint:
        return "orm"
    except ValueError:
        raise ValueError(
            f"got {path_or_id} with {architectures}, which does not say what kind of scorer it is; "
            f"write word={path_or_id} with the word one of {', '.join(WORDS)}"
        ) from None
    return "prm"


def load_rationale_scorer(
    name: str,
    likelihood_model: str | None = None,
    *,
    generator: LanguageModel | None = None,
    discount: float = 1.0,
    contrastive: bool = False,
    length_normalize: bool = True,
    splitter: StepSplitter | None = None,
) -> RationaleScorer:
    """A rationale model as a scorer of steps, on the default device.

    Args:
        name: the model that writes rationales: ``tiny``, a folder (also of an adapter) or a Hub id.
        likelihood_model: the folder or Hub id of the model that measures how likely a step is given
            a rationale; ``None``: the model that writes the rationales.
        generator: writes the rationales in place of ``tiny``, unless it is the packaged model.
        discount: see ``RationaleScorer``.
        contrastive: see ``RationaleScorer``.
        length_normalize: see ``RationaleScorer``.
        splitter: where solutions are split into steps; ``None``: at newlines.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: a discount out of range.
    """
    if name != "tiny":
        writer = RationaleWriter(*load_model(name), splitter=splitter)
    elif generator is not None and not _is_packaged(generator[0]):
        writer = RationaleWriter(*generator, splitter=splitter)
    else:
        writer = RationaleScorer.from_pretrained(packaged("rationalyst"), splitter=splitter).writer
    model, tokenizer = (None, None)
    if likelihood_model not in (None, name):
        model, tokenizer = load_model(likelihood_model)
    return RationaleScorer(
        writer,
        model,
        tokenizer,
        discount=discount,
        contrastive=contrastive,
        length_normalize=length_normalize,
    )


def _confidence(spec: str, **options: Any) -> ConfidenceScorer:
    """The scorer of ``measure``, ``measure:window`` or an empty text."""
    name, _, window = spec.partition(":")
    measure: Any = name or "logprob"
    if not window:
        return ConfidenceScorer(measure, **options)
    if not window.isdecimal():
        raise ValueError(
            f"got scorer 'confidence={spec}'; need a number of tokens behind the colon, such as "
            "confidence=group:256"
        )
    return ConfidenceScorer(measure, window=int(window), **options)


def check_scorer_name(spec: str) -> None:
    """Raise if ``load_scorer`` could not load this name, before the generator is loaded.

    Args:
        spec: the name, as in ``load_scorer``.

    Raises:
        OSError: there is no such folder and no such id.
        ValueError: the name is none that is allowed, or the checkpoint does not say its kind.
    """
    word, folder = _parse(spec)
    if word is None:
        scorer_kind(folder)
    elif word == "confidence":
        load_scorer(spec)
    elif word in COMBINATIONS:
        for member in folder.split(","):
            check_scorer_name(member)
    elif folder not in ("", "tiny"):
        with checkpoint_errors(folder):
            pass


def _parse(spec: str) -> tuple[str | None, str]:
    """The word of a name, or ``None``, and its folder, ``""`` for a word without a folder."""
    word, _, folder = spec.partition("=")
    if word == "confidence" or (word in COMBINATIONS and folder):
        return word, folder
    if word in WORDS and (folder or word in _ALONE):
        return word, folder
    if word in WORDS:
        raise ValueError(f"got scorer {spec!r}, which needs a folder or Hub id: {word}=folder")
    if spec == "tiny":
        return "prm", spec
    if not spec or spec.startswith(("http://", "https://")):
        raise ValueError(f"got scorer {spec!r}; {_ALLOWED}")
    # A folder may have an equals sign in its name, too.
    return None, spec


def _language_model(
    word: str, folder: str, generator: LanguageModel | None
) -> tuple[Any, PreTrainedTokenizerBase]:
    """The model of ``word=folder``, or the generator for the word alone."""
    if folder:
        return load_model(folder)
    if generator is None:
        raise ValueError(
            f"got scorer {word!r} where there is no generator to score by; name a model: "
            f"{word}=folder"
        )
    return generator


def _reward_model(
    kind: str, folder: str, whole_solutions: bool, splitter: StepSplitter | None
) -> Scorer:
    """A reward model or ranker from a folder, a Hub id or ``tiny``."""
    tiny = folder == "tiny"
    if kind == "ngram-ranker" or (kind == "ranker" and NGramRanker.is_saved_in(folder)):
        return NGramRanker.from_pretrained(folder, splitter=splitter)
    if kind == "ranker":
        scorer = RankingModel.from_pretrained(
            packaged("ranker") if tiny else folder, splitter=splitter, dtype="auto"
        )
    elif kind == "orm":
        path = packaged("orm") if tiny else folder
        scorer = OutcomeRewardModel.from_pretrained(path, splitter=splitter, dtype="auto")
    else:
        # The packaged model's middle label says that a step is right but leads nowhere: half a
        # mistake for a whole solution, a mistake for a search.
        neutral = "half" if tiny and whole_solutions else None
        scorer = ProcessRewardModel.from_pretrained(
            packaged("prm") if tiny else folder,
            format=None if kind == "prm" else kind,
            neutral=neutral,
            splitter=splitter,
            dtype="auto",
        )
    model: Any = scorer.model  # typed without its method `to`
    model.to(default_device())
    return scorer


def _is_packaged(model: PreTrainedModel) -> bool:
    return Path(model.name_or_path or "") == packaged("base")
