"""Models from folders, and a whole command over them with nothing replaced."""

import json
import logging
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModel,
    LlamaForCausalLM,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
)

from reason_decode import (
    LikelihoodScorer,
    OutcomeRewardModel,
    RankingModel,
    RationaleScorer,
)
from reason_decode.cli import main
from reason_decode.models.loading import load_model
from reason_decode.scorers import NGramRanker, TokenClassification
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.loading import load_scorer, scorer_kind
from reason_decode.tiny import WEIGHTS


@pytest.fixture(scope="module")
def folders(tiny_llama: LlamaForCausalLM, tmp_path_factory: pytest.TempPathFactory):
    """A generator and a process reward model on disk, with one token a character."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789 \n+-*/()=.:"
    words = ["<pad>", "<bos>", "<eos>", "<unk>", *letters]
    core = Tokenizer(models.WordLevel({word: k for k, word in enumerate(words)}, "<unk>"))
    core.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<bos>", eos_token="<eos>", unk_token="<unk>"
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = type(tiny_llama.config)(**{**tiny_llama.config.to_dict(), "num_labels": 2})
        prm = LlamaForTokenClassification(config)
    generator, scorer = tmp_path_factory.mktemp("model"), tmp_path_factory.mktemp("prm")
    for model, folder in ((tiny_llama, generator), (prm, scorer)):
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return generator, scorer


def test_a_tokenizer_without_padding_pads_with_its_end(folders: tuple[Path, Path]):
    model, tokenizer = load_model(str(folders[0]))
    assert tokenizer.pad_token_id == tokenizer.eos_token_id == 2 and not model.training


def test_a_generator_is_no_reward_model(folders: tuple[Path, Path]):
    with pytest.raises(ValueError, match="LlamaForCausalLM, which does not say what kind of sco"):
        load_scorer(str(folders[0]))


@pytest.mark.parametrize(
    ("folder", "kind", "loaded"),
    [
        ("prm", "prm", TokenClassification),
        ("orm", "orm", OutcomeRewardModel),
        ("ranker", "ranker", RankingModel),
        ("rationalyst", "rationale", RationaleScorer),
    ],
)
def test_a_checkpoint_tells_its_kind(folder: str, kind: str, loaded: type[Scorer]):
    assert scorer_kind(WEIGHTS / folder) == kind
    assert type(load_scorer(str(WEIGHTS / folder))) is loaded


def test_a_folder_of_a_linear_ranker_and_one_with_an_equals_sign(tmp_path: Path):
    folder = tmp_path / "lr=1e-3"
    NGramRanker(torch.zeros(8)).save_pretrained(folder)
    assert scorer_kind(folder) == "ngram-ranker"
    assert isinstance(load_scorer(str(folder)), NGramRanker)
    assert isinstance(load_scorer(f"ranker={folder}"), NGramRanker)


def test_tiny_is_the_verifier_for_whole_solutions_only():
    step, whole = load_scorer("tiny"), load_scorer("tiny", whole_solutions=True)
    assert isinstance(step, TokenClassification) and step.neutral is None
    assert isinstance(whole, TokenClassification) and whole.neutral == "half"


def test_words_score_with_the_generator_or_with_a_folder(folders: tuple[Path, Path]):
    generator = load_model(str(folders[0]))
    whole = load_scorer("likelihood", generator=generator, whole_solutions=True)
    assert isinstance(whole, LikelihoodScorer) and whole.model is generator[0]
    assert not whole.per_step
    steps = load_scorer(f"likelihood={folders[0]}", length_normalize=False)
    assert isinstance(steps, LikelihoodScorer) and steps.per_step and not steps.length_normalize
    own = load_scorer("rationale", generator=generator, discount=0.9, contrastive=True)
    assert isinstance(own, RationaleScorer) and own.writer.model is generator[0]
    assert (own.discount, own.contrastive) == (0.9, True)
    packaged = load_scorer("rationale", generator=load_model("tiny"))
    assert isinstance(packaged, RationaleScorer)
    assert packaged.writer.model.name_or_path == str(WEIGHTS / "rationalyst")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("", "got scorer ''; allowed are tiny; a folder or Hub id"),
        ("prm", "got scorer 'prm', which needs a folder or Hub id: prm=folder"),
        ("likelihood", "no generator to score by; name a model: likelihood=folder"),
        ("generative", "name a model: generative=folder"),
    ],
)
def test_names_of_no_scorer_are_refused(spec: str, message: str):
    with pytest.raises(ValueError, match=message):
        load_scorer(spec)


def test_options_of_other_kinds_are_refused():
    with pytest.raises(ValueError, match="with options of rationale models"):
        load_scorer("tiny", discount=0.9)
    with pytest.raises(ValueError, match="length_normalize=False, which is an option of likelih"):
        load_scorer("tiny", length_normalize=False)


def test_a_head_of_its_own_is_loaded_without_a_table_of_unexpected_weights(
    caplog: pytest.LogCaptureFixture,
):
    """transformers has no place for a ranker's head, and reported its weights as unexpected."""
    logger = logging.getLogger("transformers.modeling_utils")
    logger.addHandler(caplog.handler)
    try:
        RankingModel.from_pretrained(WEIGHTS / "ranker")
        assert "LOAD REPORT" not in caplog.text
        AutoModel.from_pretrained(WEIGHTS / "ranker")
        assert "LOAD REPORT" in caplog.text
    finally:
        logger.removeHandler(caplog.handler)


@pytest.mark.parametrize("strategy", ["sample", "best-of-n", "step-search", "self-consistency"])
def test_generate_runs_models_from_folders(
    folders: tuple[Path, Path], tmp_path: Path, strategy: str
):
    source, out = tmp_path / "in.jsonl", tmp_path / "out.jsonl"
    source.write_text('{"prompt": "1 + 1 ="}\n{"prompt": "make 24"}\n{"prompt": "x"}\n')
    argv = ["generate", "--input", str(source), "--output", str(out), "--strategy", strategy]
    argv += ["--model", str(folders[0]), "--n", "2"]
    if strategy in ("best-of-n", "step-search"):
        argv += ["--scorer", str(folders[1])]
    assert main([*argv, "--max-new-tokens", "6", "--batch-size", "2"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["id"] for row in rows] == [1, 2, 3]
    scored = strategy in ("best-of-n", "step-search")
    assert all((row["score"] is not None) == scored for row in rows)
    first = out.read_text()
    out.unlink()
    assert main([*argv, "--max-new-tokens", "6", "--batch-size", "2"]) == 0
    assert out.read_text() == first
