"""Every format against a plain implementation: one solution, one forward pass, no cache."""

import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models
from torch import Tensor, nn
from transformers import (
    LlamaForCausalLM,
    LlamaForTokenClassification,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    MistralModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Model,
)
from transformers.models.llama import LlamaConfig

from examples.tiny.tokenizer import build_tokenizer
from reason_decode import ProcessRewardModel
from reason_decode.scorers.prm_formats import MathShepherd, TokenClassification
from tests.tolerance import assert_close, roundings

PROMPTS = ["What is 2 + 3 * 4?", "What is 7 - 5?"]
STEPS = [
    ["First 3 * 4 = 12.", "Then 2 + 12 = 14.", "So 14."],
    ["First 2 + 3 = 5.", "Then 5 * 4 = 20."],
    ["First 3 * 4 = 12.", "Then 2 + 12 = 15.", "So 15."],
    ["7 - 5 = 2."],
]
OWNERS = [0, 0, 0, 1]
CHAT = (
    "{% for m in messages %}<s>{{ m['role'] }}\n\n{{ m['content'] }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n\n{% endif %}"
)
SIZES: dict[str, Any] = dict(
    hidden_size=32,
    intermediate_size=64,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=512,
)

LABELS: dict[str, Any] = dict(num_labels=3)


class Published(NamedTuple):
    """A checkpoint in a folder, and its authors' way to score one solution with it."""

    folder: Path
    score_plainly: Callable[[PreTrainedTokenizerFast, str, Sequence[str]], Tensor]
    format: str | None = None


def _tokenizer(*added: str) -> PreTrainedTokenizerFast:
    tokenizer = build_tokenizer([" ".join([*PROMPTS, *sum(STEPS, [])])] * 3, vocab_size=330)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<s>", "</s>"]})
    tokenizer.add_tokens(list(added))
    tokenizer.chat_template = CHAT
    return tokenizer


def _saved(
    folder: Path, model: Any, tokenizer: Any, head: nn.Module | None = None, **config: Any
) -> None:
    """The checkpoint as its authors saved it, a head's weights among the model's."""
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    if head is not None:
        weights = load_file(folder / "model.safetensors")
        # A bare body is saved without the prefix that a model with a head gives it.
        if not any(name.startswith("model.") for name in weights):
            weights = {f"model.{name}": x for name, x in weights.items()}
        weights.update({name: x.detach() for name, x in head.named_parameters()})
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **config}))


def _three_labels(
    folder: Path, names: Sequence[str] = (), right: Sequence[int] = (1, 2)
) -> Published:
    tokenizer = _tokenizer()
    model = LlamaForTokenClassification(
        LlamaConfig(vocab_size=len(tokenizer) + 8, **SIZES, **LABELS)
    ).eval()
    labels = {str(k): name for k, name in enumerate(names)}
    config: dict[str, Any] = {"id2label": labels} if names else {}
    _saved(folder, model, tokenizer, **config)

    def score_plainly(
        tokenizer: PreTrainedTokenizerFast, prompt: str, steps: Sequence[str]
    ) -> Tensor:
        ids, ends = [tokenizer.bos_token_id, *_ids(tokenizer, prompt)], []
        for step in steps:
            ids += _ids(tokenizer, step) + _ids(tokenizer, "\n")
            ends.append(len(ids) - 1)
        return model(torch.tensor([ids])).logits[0, ends].softmax(-1)[:, right].sum(-1)

    return Published(folder, score_plainly)


def _named_labels(folder: Path) -> Published:
    return _three_labels(folder, ("wrong", "right", "dead end"), (1,))


def _math_shepherd(folder: Path) -> Published:
    tokenizer = _tokenizer("ки")
    model = MistralForCausalLM(
        MistralConfig(vocab_size=len(tokenizer) + 8, sliding_window=None, **SIZES)
    ).eval()
    _saved(folder, model, tokenizer)

    def score_plainly(
        tokenizer: PreTrainedTokenizerFast, prompt: str, steps: Sequence[str]
    ) -> Tensor:
        lines = [f"Step {k}: {step} ки" for k, step in enumerate(steps, 1)]
        ids = torch.tensor([tokenizer(prompt + " " + "\n".join(lines))["input_ids"]])
        logits = model(ids).logits[0][ids[0] == _ids(tokenizer, "ки")[-1]]
        return logits[:, [_ids(tokenizer, "+")[-1], _ids(tokenizer, "-")[-1]]].softmax(-1)[:, 0]

    return Published(folder, score_plainly)


def _rlhflow(folder: Path) -> Published:
    return _asked(folder, ("+", "-"), "{prompt} {step}", "{step}")


def _generative(folder: Path) -> Published:
    asked = "{step}\n\nIs this step correct (Yes/No)?"
    made = _asked(folder, ("Yes", "No"), "{prompt}\n\n" + asked, asked)
    return made._replace(
        format="generative"
    )  # a chat model's files do not say that it is a verifier


def _asked(folder: Path, verdicts: tuple[str, str], first: str, later: str) -> Published:
    tokenizer = _tokenizer(*verdicts)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    _saved(folder, model, tokenizer)

    def score_plainly(
        tokenizer: PreTrainedTokenizerFast, prompt: str, steps: Sequence[str]
    ) -> Tensor:
        choice = [_ids(tokenizer, verdict)[-1] for verdict in verdicts]
        dialogue, scores = [], []
        for k, step in enumerate(steps):
            turn = (later if k else first).format(prompt=prompt, step=step)
            dialogue += [{"role": "user", "content": turn}]
            dialogue += [{"role": "assistant", "content": verdicts[0]}]
            text = str(tokenizer.apply_chat_template(dialogue, tokenize=False)).rstrip("\n")
            logits = model(torch.tensor([_ids(tokenizer, text)])).logits[0, -3]
            scores.append(logits[choice].softmax(-1)[0])
        return torch.stack(scores)

    return Published(folder, score_plainly)


def _qwen_math(folder: Path) -> Published:
    tokenizer = _tokenizer()
    body = Qwen2Model(Qwen2Config(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    score = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    architecture = "Qwen2ForProcessRewardModel"
    _saved(
        folder,
        body,
        tokenizer,
        nn.ModuleDict({"score": score}),
        architectures=[architecture],
        auto_map={"AutoModel": f"modeling_qwen2_rm.{architecture}"},
    )

    def score_plainly(
        tokenizer: PreTrainedTokenizerFast, prompt: str, steps: Sequence[str]
    ) -> Tensor:
        system = "Please reason step by step, and put your final answer within \\boxed{}."
        answer = "<extra_0>".join(steps) + "<extra_0>"
        roles = zip(("system", "user", "assistant"), (system, prompt, answer), strict=True)
        messages = [{"role": role, "content": content} for role, content in roles]
        ids = torch.tensor(
            [_ids(tokenizer, str(tokenizer.apply_chat_template(messages, tokenize=False)))]
        )
        hidden = body(ids).last_hidden_state[0][
            ids[0] == tokenizer.convert_tokens_to_ids("<extra_0>")
        ]
        return score(hidden).softmax(-1)[:, 1]

    return Published(folder, score_plainly)


def _skywork(folder: Path) -> Published:
    tokenizer = _tokenizer()
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    summary = nn.Linear(32, 1)
    _saved(folder, model, tokenizer, nn.ModuleDict({"v_head": nn.ModuleDict({"summary": summary})}))

    def score_plainly(
        tokenizer: PreTrainedTokenizerFast, prompt: str, steps: Sequence[str]
    ) -> Tensor:
        ids = tokenizer(f"{tokenizer.bos_token}{prompt}\n")["input_ids"]
        ends = []
        for step in steps:
            ids += [*_ids(tokenizer, step), _ids(tokenizer, "\n")[-1]]
            ends.append(len(ids) - 1)
        hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
        return summary(hidden[0, ends]).sigmoid()[:, 0]

    return Published(folder, score_plainly)


def _reasoneval(folder: Path, mistral: bool) -> Published:
    tokenizer = _tokenizer()
    if mistral:
        tokenizer.pad_token = tokenizer.bos_token
    body = (
        MistralModel(MistralConfig(vocab_size=len(tokenizer) + 8, sliding_window=None, **SIZES))
        if mistral
        else LlamaModel(LlamaConfig(vocab_size=len(tokenizer) + 8, **SIZES))
    ).eval()
    head = nn.Linear(32, 3)
    _saved(
        folder,
        body,
        tokenizer,
        nn.ModuleDict({"score_head": head}),
        architectures=["ReasonEval_7B" if mistral else "ReasonEval_34B"],
    )

    def score_plainly(
        tokenizer: PreTrainedTokenizerFast, prompt: str, steps: Sequence[str]
    ) -> Tensor:
        ids = tokenizer(f"Question:\n{prompt}\nAnswer:\nLet's think step by step.\n")["input_ids"]
        ends = []
        for step in steps:
            ids += _ids(tokenizer, step)
            ends.append(len(ids) - (2 if mistral else 1))
        probabilities = head(body(torch.tensor([ids])).last_hidden_state[0, ends]).softmax(-1)
        return probabilities[:, 1] + probabilities[:, 2]

    return Published(folder, score_plainly)


def _ids(tokenizer: PreTrainedTokenizerFast, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


MADE: dict[str, Callable[[Path], Published]] = {
    "prm800k-three-labels": _three_labels,
    "a-label-called-right": _named_labels,
    "math-shepherd": _math_shepherd,
    "rlhflow": _rlhflow,
    "generative": _generative,
    "qwen2.5-math-prm": _qwen_math,
    "skywork": _skywork,
    "reasoneval-7b": lambda folder: _reasoneval(folder, mistral=True),
    "reasoneval-34b": lambda folder: _reasoneval(folder, mistral=False),
}


@pytest.fixture(scope="module", params=MADE)
def published(request: Any, tmp_path_factory: pytest.TempPathFactory) -> Published:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return MADE[request.param](tmp_path_factory.mktemp("checkpoints") / request.param)


@pytest.fixture(scope="module")
def prm(published: Published) -> ProcessRewardModel:
    return ProcessRewardModel.from_pretrained(published.folder, format=published.format)


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
    tag, *verdicts = (_ids(tokenizer, text)[-1] for text in ("ки", "+", "-"))
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
