"""Random models in the layouts of published reward models, and their authors' way to score."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import (
    LlamaForCausalLM,
    LlamaForTokenClassification,
    LlamaModel,
    MistralConfig,
    MistralForCausalLM,
    MistralModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen2Model,
)
from transformers import PreTrainedTokenizerFast as Tokenizer
from transformers.models.llama import LlamaConfig

from examples.tiny.tokenizer import build_tokenizer

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
    score_plainly: Callable[[Tokenizer, str, Sequence[str]], Tensor]
    format: str | None = None
    options: dict[str, Any] = {}


def new_tokenizer(*added: str) -> Tokenizer:
    tokenizer = build_tokenizer([" ".join([*PROMPTS, *sum(STEPS, [])])] * 3, vocab_size=330)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<s>", "</s>"]})
    tokenizer.add_tokens(list(added))
    tokenizer.chat_template = CHAT
    return tokenizer


def save(
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
    tokenizer = new_tokenizer()
    model = LlamaForTokenClassification(
        LlamaConfig(vocab_size=len(tokenizer) + 8, **SIZES, **LABELS)
    ).eval()
    labels = {str(k): name for k, name in enumerate(names)}
    config: dict[str, Any] = {"id2label": labels} if names else {}
    save(folder, model, tokenizer, **config)

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        ids, ends = [tokenizer.bos_token_id, *ids_of(tokenizer, prompt)], []
        for step in steps:
            ids += ids_of(tokenizer, step) + ids_of(tokenizer, "\n")
            ends.append(len(ids) - 1)
        return model(torch.tensor([ids])).logits[0, ends].softmax(-1)[:, right].sum(-1)

    return Published(folder, score_plainly)


def _named_labels(folder: Path) -> Published:
    return _three_labels(folder, ("wrong", "right", "dead end"), (1,))


def _math_shepherd(folder: Path) -> Published:
    tokenizer = new_tokenizer("ки")
    model = MistralForCausalLM(
        MistralConfig(vocab_size=len(tokenizer) + 8, sliding_window=None, **SIZES)
    ).eval()
    save(folder, model, tokenizer)

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        lines = [f"Step {k}: {step} ки" for k, step in enumerate(steps, 1)]
        ids = torch.tensor([tokenizer(prompt + " " + "\n".join(lines))["input_ids"]])
        logits = model(ids).logits[0][ids[0] == ids_of(tokenizer, "ки")[-1]]
        return logits[:, [ids_of(tokenizer, "+")[-1], ids_of(tokenizer, "-")[-1]]].softmax(-1)[:, 0]

    return Published(folder, score_plainly)


def _rlhflow(folder: Path) -> Published:
    return _asked(folder, ("+", "-"), "{prompt} {step}", "{step}")


def _generative(folder: Path) -> Published:
    return _judge(folder, "generative", ("Yes", "No"), "Is this step correct (Yes/No)?")


def _rating(folder: Path) -> Published:
    rules = "Answer with one digit, from 0 (surely wrong) to 9 (surely correct)."
    question = f"How likely is this step correct? {rules}"
    return _judge(folder, "rating", tuple("9876543210"), question)


def _judge(folder: Path, format: str, verdicts: Sequence[str], question: str) -> Published:
    asked = "{step}\n\n" + question
    # A chat model's files do not say that it is a verifier.
    return _asked(folder, verdicts, "{prompt}\n\n" + asked, asked)._replace(format=format)


def _asked(folder: Path, verdicts: Sequence[str], first: str, later: str) -> Published:
    tokenizer = new_tokenizer(*verdicts)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    save(folder, model, tokenizer)

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        choice = [ids_of(tokenizer, verdict)[-1] for verdict in verdicts]
        dialogue, scores = [], []
        for k, step in enumerate(steps):
            turn = (later if k else first).format(prompt=prompt, step=step)
            dialogue += [{"role": "user", "content": turn}]
            dialogue += [{"role": "assistant", "content": verdicts[0]}]
            text = str(tokenizer.apply_chat_template(dialogue, tokenize=False)).rstrip("\n")
            logits = model(torch.tensor([ids_of(tokenizer, text)])).logits[0, -3]
            # The best verdict counts 1, the worst 0.
            scores.append(logits[choice].softmax(-1) @ torch.linspace(1, 0, len(choice)))
        return torch.stack(scores)

    return Published(folder, score_plainly)


def _qwen_math(folder: Path) -> Published:
    tokenizer = new_tokenizer()
    body = Qwen2Model(Qwen2Config(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    score = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))
    architecture = "Qwen2ForProcessRewardModel"
    save(
        folder,
        body,
        tokenizer,
        nn.ModuleDict({"score": score}),
        architectures=[architecture],
        auto_map={"AutoModel": f"modeling_qwen2_rm.{architecture}"},
    )

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        system = "Please reason step by step, and put your final answer within \\boxed{}."
        answer = "<extra_0>".join(steps) + "<extra_0>"
        roles = zip(("system", "user", "assistant"), (system, prompt, answer), strict=True)
        messages = [{"role": role, "content": content} for role, content in roles]
        ids = torch.tensor(
            [ids_of(tokenizer, str(tokenizer.apply_chat_template(messages, tokenize=False)))]
        )
        hidden = body(ids).last_hidden_state[0][
            ids[0] == tokenizer.convert_tokens_to_ids("<extra_0>")
        ]
        return score(hidden).softmax(-1)[:, 1]

    return Published(folder, score_plainly)


def save_qwen_rm(folder: Path) -> None:
    """Qwen2.5-Math-RM: the layout of a chat, and a head of two layers with one output."""
    tokenizer = new_tokenizer()
    body = Qwen2Model(Qwen2Config(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    score = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 1))
    head = nn.ModuleDict({"score": score})
    save(folder, body, tokenizer, head, architectures=["Qwen2ForRewardModel"])


def _skywork(folder: Path) -> Published:
    tokenizer = new_tokenizer()
    model = Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    summary = nn.Linear(32, 1)
    save(folder, model, tokenizer, nn.ModuleDict({"v_head": nn.ModuleDict({"summary": summary})}))

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        ids = tokenizer(f"{tokenizer.bos_token}{prompt}\n")["input_ids"]
        ends = []
        for step in steps:
            ids += [*ids_of(tokenizer, step), ids_of(tokenizer, "\n")[-1]]
            ends.append(len(ids) - 1)
        hidden = model(torch.tensor([ids]), output_hidden_states=True).hidden_states[-1]
        return summary(hidden[0, ends]).sigmoid()[:, 0]

    return Published(folder, score_plainly)


def _tagged(
    folder: Path, tag: str, verdicts: Sequence[str], text_of: Callable[..., str]
) -> Published:
    """A language model that is asked at a tag, the text being ``text_of(prompt, steps)``."""
    tokenizer = new_tokenizer(tag.strip(" "))
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    save(folder, model, tokenizer)

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        ids = torch.tensor([tokenizer(text_of(prompt, steps))["input_ids"]])
        logits = model(ids).logits[0][ids[0] == ids_of(tokenizer, tag.strip(" "))[-1]]
        return logits[:, [ids_of(tokenizer, x)[-1] for x in verdicts]].softmax(-1)[:, 0]

    return Published(folder, score_plainly)


def _versaprm(folder: Path) -> Published:
    def text_of(prompt: str, steps: Sequence[str]) -> str:
        return prompt + " \n\n" + "".join(f"{step} \n\n\n\n" for step in steps)

    return _tagged(folder, " \n\n\n\n", ("+", "-"), text_of)


def _math_psa(folder: Path) -> Published:
    def text_of(prompt: str, steps: Sequence[str]) -> str:
        tag = " \n\n\n\n\n"
        return prompt + "".join(f" Step {k}: {step}{tag}" for k, step in enumerate(steps, 1))

    return _tagged(folder, " \n\n\n\n\n", (" +", " -"), text_of)


def _step_tag(folder: Path) -> Published:
    """A tag of one's own: the name of the folder says nothing."""

    def text_of(prompt: str, steps: Sequence[str]) -> str:
        return prompt + "\n" + "".join(f"{step}<end>" for step in steps)

    made = _tagged(folder, "<end>", ("Yes", "No"), text_of)
    parts = {"tag": "<end>", "opening": "\n", "joiner": "", "numbered": False}
    return made._replace(format="step-tag", options={**parts, "verdicts": ["Yes", "No"]})


def _actprm(folder: Path) -> Published:
    """An ensemble of heads, each a network of three layers, in the layout of Qwen."""
    tokenizer = new_tokenizer()
    body = Qwen2Model(Qwen2Config(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
    sizes = {"nn1": (32, 6), "nn2": (6, 6), "nn_out": (6, 1)}
    head: Any = nn.ModuleDict()
    for part in ("model", "reg_model"):
        head[part] = nn.ModuleDict()
        for name, (wide, narrow) in sizes.items():
            layer = head[part][name] = nn.Module()
            layer.weight = nn.Parameter(torch.randn(4, wide, narrow))
            layer.bias = nn.Parameter(torch.randn(4, narrow))
    architecture = "Qwen2ForEnsemblePRM"
    save(folder, body, tokenizer, nn.ModuleDict({"score": head}), architectures=[architecture])

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        system = "Please reason step by step, and put your final answer within \\boxed{}."
        answer = "<extra_0>".join(steps) + "<extra_0>"
        roles = zip(("system", "user", "assistant"), (system, prompt, answer), strict=True)
        messages = [{"role": role, "content": content} for role, content in roles]
        text = str(tokenizer.apply_chat_template(messages, tokenize=False))
        ids = torch.tensor([ids_of(tokenizer, text)])
        tags = ids[0] == tokenizer.convert_tokens_to_ids("<extra_0>")
        hidden = body(ids).last_hidden_state[0][tags]
        found = []
        for e in range(4):
            x = hidden
            for name in sizes:
                layer: Any = head["model"][name]
                x = (x if name == "nn1" else x.relu()) @ layer.weight[e] + layer.bias[e]
            found.append(x[:, 0].sigmoid())
        return torch.stack(found).mean(0)

    return Published(folder, score_plainly)


def _eurusprm(folder: Path) -> Published:
    """The log-ratio of two models, added up to the separator after each step."""
    tokenizer = new_tokenizer()
    model, reference = (
        Qwen2ForCausalLM(Qwen2Config(vocab_size=len(tokenizer) + 8, **SIZES)).eval()
        for _ in range(2)
    )
    for x in model.parameters():  # far from the reference, so that the difference is no rounding
        nn.init.normal_(x, std=0.5)
    save(folder, model, tokenizer)
    save(folder / "reference", reference, tokenizer)

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        message = [{"role": "user", "content": prompt}]
        before = str(
            tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True)
        )
        lengths = [
            len(ids_of(tokenizer, before + "".join(f"{step}\n\n" for step in steps[:k])))
            for k in range(len(steps) + 1)
        ]
        whole = before + "".join(f"{step}\n\n" for step in steps)
        ids = torch.tensor([ids_of(tokenizer, whole)])
        own, other = (
            x(ids).logits[0, :-1].log_softmax(-1).gather(-1, ids[0, 1:, None])[:, 0]
            for x in (model, reference)
        )
        ratios = 0.001 * (own - other)
        return torch.stack([ratios[lengths[0] - 1 : end - 1].sum() for end in lengths[1:]])

    return Published(folder, score_plainly, None, {"reference": str(folder / "reference")})


def _reasoneval(folder: Path, mistral: bool) -> Published:
    tokenizer = new_tokenizer()
    if mistral:
        tokenizer.pad_token = tokenizer.bos_token
    body = (
        MistralModel(MistralConfig(vocab_size=len(tokenizer) + 8, sliding_window=None, **SIZES))
        if mistral
        else LlamaModel(LlamaConfig(vocab_size=len(tokenizer) + 8, **SIZES))
    ).eval()
    head = nn.Linear(32, 3)
    save(
        folder,
        body,
        tokenizer,
        nn.ModuleDict({"score_head": head}),
        architectures=["ReasonEval_7B" if mistral else "ReasonEval_34B"],
    )

    def score_plainly(tokenizer: Tokenizer, prompt: str, steps: Sequence[str]) -> Tensor:
        ids = tokenizer(f"Question:\n{prompt}\nAnswer:\nLet's think step by step.\n")["input_ids"]
        ends = []
        for step in steps:
            ids += ids_of(tokenizer, step)
            ends.append(len(ids) - (2 if mistral else 1))
        probabilities = head(body(torch.tensor([ids])).last_hidden_state[0, ends]).softmax(-1)
        return probabilities[:, 1] + probabilities[:, 2]

    return Published(folder, score_plainly)


def ids_of(tokenizer: Tokenizer, text: str) -> list[int]:
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


MADE: dict[str, Callable[[Path], Published]] = {
    "prm800k-three-labels": _three_labels,
    "a-label-called-right": _named_labels,
    "math-shepherd": _math_shepherd,
    "rlhflow": _rlhflow,
    "generative": _generative,
    "rating": _rating,
    "qwen2.5-math-prm": _qwen_math,
    "a-renamed-skyw": _skywork,
    "versaprm": _versaprm,
    "math-psa": _math_psa,
    "a-tag-of-ones-own": _step_tag,
    "an-ensemble": _actprm,
    "eurusprm": _eurusprm,
    "reasoneval-7b": lambda folder: _reasoneval(folder, mistral=True),
    "reasoneval-34b": lambda folder: _reasoneval(folder, mistral=False),
}
