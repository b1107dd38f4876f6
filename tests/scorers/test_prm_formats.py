"""Every format against a plain implementation: one solution, one forward pass, no cache."""

import json
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from published_prms import (
    CHAT,
    MADE,
    OWNERS,
    PROMPTS,
    SIZES,
    STEPS,
    Published,
    ids_of,
    new_tokenizer,
    save,
    save_qwen_rm,
)
from tokenizers import Tokenizer, models
from torch import nn
from transformers import (
    LlamaForCausalLM,
    LlamaForSequenceClassification,
    LlamaForTokenClassification,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2Model,
)
from transformers.models.llama import LlamaConfig

from examples.tiny.tokenizer import build_tokenizer
from reason_decode import ProcessRewardModel
from reason_decode.scorers.prm_formats import MathShepherd, TokenClassification
from tests.tolerance import assert_close, roundings


@pytest.fixture(scope="module", params=MADE)
def published(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Published:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return MADE[request.param](tmp_path_factory.mktemp("checkpoints") / request.param)


@pytest.fixture(scope="module")
def prm(published: Published) -> ProcessRewardModel:
    return ProcessRewardModel.from_pretrained(
        published.folder, format=published.format, **published.options
    )


@pytest.mark.numeric
def test_equals_the_published_implementation(published: Published, prm: ProcessRewardModel) -> None:
    pairs = [PROMPTS[owner] for owner in OWNERS]
    tokenizer: Any = prm.tokenizer
    with torch.no_grad():
        plain = [
            published.score_plainly(tokenizer, *pair) for pair in zip(pairs, STEPS, strict=True)
        ]
    assert_close(prm.score(pairs, STEPS), plain, terms=roundings(prm.model))


def test_a_session_reads_each_token_once(prm: ProcessRewardModel) -> None:
    """Step by step costs what the whole costs at once."""
    at_once, by_step = prm.start_session(PROMPTS[:1]), prm.start_session(PROMPTS[:1])
    at_once.score([[STEPS[0]]])
    for step in STEPS[0]:
        by_step.score([[[step]]])
        by_step.select([(0, 0)])
    assert by_step.tokens_read == at_once.tokens_read


def test_rejects_steps_that_contain_the_tag(tmp_path: Path) -> None:
    prm = ProcessRewardModel.from_pretrained(MADE["qwen2.5-math-prm"](tmp_path).folder)
    with pytest.raises(ValueError, match="must not contain '<extra_0>'"):
        prm.score(PROMPTS[:1], [["First <extra_0> 3."]])


@pytest.mark.numeric
def test_letters_of_a_tag_in_a_text_are_no_tag(tmp_path: Path) -> None:
    """Russian text with the letters of Math-Shepherd's tag once ended a whole call."""
    folder = MADE["math-shepherd"](tmp_path).folder
    prm = ProcessRewardModel.from_pretrained(folder, format="math-shepherd")
    prompt, steps = "Сколько книжки ки стоят?", ["Чашки и миски.", "Итого ки 3."]
    (found,) = prm.score([prompt], [steps])
    tokenizer: Any = prm.tokenizer
    tag, *verdicts = (ids_of(tokenizer, text)[-1] for text in ("ки", "+", "-"))
    text = f"{prompt} Step 1: {steps[0]} ки\nStep 2: {steps[1]} ки"
    ids = torch.tensor(tokenizer(text)["input_ids"])
    first, second = (ids == tag).nonzero()[[4, 6], 0].tolist()
    with torch.no_grad():
        logits = prm.model(ids[None]).logits[0, [first, second]]
    plain = logits[:, verdicts].softmax(-1)[:, 0]
    assert_close(found, plain, terms=roundings(prm.model))


def test_warns_of_steps_past_the_positions_of_the_model() -> None:
    """Scores past them are noise; two were once given without a word."""
    tokenizer = build_tokenizer([PROMPTS[0]] * 3, vocab_size=300)
    config = LlamaConfig(vocab_size=400, **{**SIZES, "max_position_embeddings": 48})
    prm = TokenClassification(LlamaForTokenClassification(config), tokenizer)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prm.score(PROMPTS[:1], [["short"]])
    with pytest.warns(UserWarning, match="past the 48 positions that its LlamaForToken"):
        prm.score(PROMPTS[:1], [["short", "long " * 30]])


def test_settings_rebuild_the_scorer(prm: ProcessRewardModel) -> None:
    """With the options of its format, as plain JSON."""
    settings = json.loads(json.dumps(prm.settings()))
    again = ProcessRewardModel.from_pretrained(**settings)
    assert again.settings() == settings
    found, expected = (x.score(PROMPTS[:1], STEPS[:1])[0] for x in (again, prm))
    assert torch.equal(found, expected)


def test_a_model_in_memory_is_read_in_the_format_that_is_named(prm: ProcessRewardModel) -> None:
    """It was a bare TypeError: the class is abstract, and the user had to find that of a format."""
    model, tokenizer = prm.model, prm.tokenizer
    options = {name: x for name, x in prm.options.items() if name in prm.option_names}
    kinds: list[Any] = [ProcessRewardModel, type(prm)]
    for kind in kinds:
        again = kind(model, tokenizer, format=prm.format, separator=prm.separator, **options)
        assert type(again) is type(prm)
        found, expected = (x.score(PROMPTS[:1], STEPS[:1])[0] for x in (again, prm))
        assert torch.equal(found, expected)


def test_a_model_in_memory_that_does_not_say_its_format(tiny_llama: LlamaForCausalLM) -> None:
    tokenizer = new_tokenizer()
    of_any_format: Any = ProcessRewardModel  # abstract to a type checker
    with pytest.raises(ValueError, match="got LlamaForCausalLM, which does not say how it reads"):
        of_any_format(tiny_llama, tokenizer)
    with pytest.raises(ValueError, match="got 'some/model' as the model; pass a loaded one"):
        of_any_format("some/model", tokenizer)
    with pytest.raises(ValueError, match="got format='rlhflow' for MathShepherd"):
        MathShepherd(tiny_llama, tokenizer, format="rlhflow")
    config = LlamaConfig(**{**SIZES, "vocab_size": len(tokenizer), "num_labels": 2})
    prm = of_any_format(LlamaForTokenClassification(config), tokenizer)
    assert type(prm) is TokenClassification


def test_outcome_reward_models_are_told_by_their_files(tmp_path: Path) -> None:
    """RLHFlow's ORM was read as a PRM, Skywork-Reward as a Skywork PRM, both without a word."""
    sizes: dict[str, Any] = {**SIZES, "vocab_size": 64}
    one_label: dict[str, Any] = {**sizes, "num_labels": 1}
    classifier = LlamaForSequenceClassification(LlamaConfig(**one_label))
    classifier.save_pretrained(tmp_path / "Skywork-Reward-V2")
    model = LlamaForCausalLM(LlamaConfig(**sizes))
    model.save_pretrained(tmp_path / "RLHFlow" / "Llama3.1-8B-ORM-Mistral-Data")
    save_qwen_rm(tmp_path / "renamed")
    for name in ("Skywork-Reward-V2", "RLHFlow/Llama3.1-8B-ORM-Mistral-Data", "renamed"):
        with pytest.raises(ValueError, match="load it by OutcomeRewardModel.from_pretrained"):
            ProcessRewardModel.from_pretrained(tmp_path / name)


def test_an_unknown_head_is_named(tmp_path: Path) -> None:
    """It was once a bare KeyError: '0.weight'."""
    body = Qwen2Model(Qwen2Config(**{**SIZES, "vocab_size": 330})).eval()
    head = nn.ModuleDict({"score": nn.ModuleDict({"gate": nn.Linear(32, 2)})})
    save(tmp_path, body, new_tokenizer(), head, architectures=["Qwen2ForProcessRewardModel"])
    with pytest.raises(ValueError, match=r"a reward head of gate.bias, gate.weight"):
        ProcessRewardModel.from_pretrained(tmp_path)


def test_formats_that_read_a_chat_take_a_system_turn_and_arguments(tmp_path: Path) -> None:
    folder = MADE["rlhflow"](tmp_path / "rlhflow").folder
    options: dict[str, Any] = {"system": "Be strict.", "chat_template_kwargs": {"mood": "bad"}}
    prm = ProcessRewardModel.from_pretrained(folder, **options)
    tokenizer: Any = prm.tokenizer
    tokenizer.chat_template = "{{ mood }}" + CHAT
    text = tokenizer.decode(prm.encode(PROMPTS[0], ["a"]).ids)
    assert text.startswith("bad<s>system\n\nBe strict.</s>\n<s>user")
    assert prm.settings().items() >= options.items()
    plain = MADE["versaprm"](tmp_path / "versaprm").folder
    with pytest.raises(ValueError, match="got system for VersaPRM, which reads plain text"):
        ProcessRewardModel.from_pretrained(plain, system="Be strict.")


def test_an_implicit_reward_needs_a_reference(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got no reference="):
        ProcessRewardModel.from_pretrained(MADE["eurusprm"](tmp_path / "eurusprm").folder)


def test_a_plain_language_model_needs_format(tmp_path: Path, tiny_llama: LlamaForCausalLM) -> None:
    tiny_llama.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="pass format= one of token-classification, math-shep"):
        ProcessRewardModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="got format='openai'; allowed are token-class"):
        ProcessRewardModel.from_pretrained(tmp_path, format="openai")
    with pytest.raises(ValueError, match="no tensor score"):
        ProcessRewardModel.from_pretrained(tmp_path, format="qwen-math")
    with pytest.raises(ValueError, match="got format='rlhflow' for MathShepherd, whose format is"):
        MathShepherd.from_pretrained(tmp_path, format="rlhflow")


def test_rejects_tokenizers_without_the_tags(tiny_llama: LlamaForCausalLM) -> None:
    core = Tokenizer(models.WordLevel({"<unk>": 0, "+": 1, "-": 2}, unk_token="<unk>"))
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, unk_token="<unk>")
    with pytest.raises(ValueError, match="no token for 'ки', which marks verdicts"):
        MathShepherd(tiny_llama, tokenizer)
