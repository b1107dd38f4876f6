"""Train a small language model on GSM8K to copy from rationales, for the loss-delta filter."""

import json
import math
import random
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast, set_seed

from benchmarks.papers.gsm8k_problems import WordProblem
from reason_decode.core.tags import TAGS
from reason_decode.training import Example, TrainingConfig
from reason_decode.training.examples import IGNORE, collate
from reason_decode.training.losses import class_loss
from reason_decode.training.trainer import train as train_model

SPECIAL = ("<pad>", "<bos>", "<eos>", TAGS.opening, TAGS.closing, "\n", "<unk>")
_WORD = re.compile(r"[A-Za-z]+|\d[\d.,]*")
# Share of a problem's steps that have a pseudo-rationale.
_WITH_RATIONALE = 0.7
# Weight of the identity that is added to the initial values and projections of attention.
_IDENTITY = 0.7
_QUESTION_WORDS = ("How many", "How much", "What is")
_ENDING = re.compile(r"(?<=\w{3})(s|ed|ing)$")
# The most frequent words are never replaced; of the others a share is.
_FREQUENT, _REPLACED = 300, 0.7


def train(
    problems: Sequence[WordProblem], out: Path, size: tuple[int, int], short: int, epochs: float
) -> None:
    """Train a language model on problems with pseudo-rationales, and save it.

    Args:
        problems: problems to learn from.
        out: folder to write.
        size: number of layers and hidden size.
        short: number of single steps.
        epochs: epochs over whole problems.
    """
    tokenizer = _build_tokenizer(problems)
    set_seed(0)
    layers, width = size
    shape = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=width // 32,
        num_key_value_heads=width // 32,
        intermediate_size=width * 8 // 3,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    model: Any = LlamaForCausalLM(shape)
    _init_to_copy(model)
    rng, rare = random.Random(0), _rare_words(problems)
    solved = [problem for problem in problems if len(problem.steps) > 1]
    # Each epoch is another draw, so that no text is seen twice.
    draws = math.ceil(epochs)
    some = (rng.choice(solved) for _ in range(short))
    parts = {
        "short": [_single_step(_replace_words(x, rare, rng), tokenizer, rng) for x in some],
        "whole": [
            _whole_problem(_replace_words(x, rare, rng), tokenizer, rng)
            for _ in range(draws)
            for x in solved
        ],
    }
    start = time.perf_counter()
    configs = {
        "short": TrainingConfig(batch_size=32, learning_rate=2e-3, weight_decay=0.1),
        "whole": TrainingConfig(
            batch_size=4,
            gradient_accumulation_steps=2,
            learning_rate=2e-3,
            weight_decay=0.1,
            num_train_epochs=epochs / draws,
        ),
    }
    for name, config in configs.items():
        folder = out if name == "whole" else out / name
        result = train_model(
            model, tokenizer, parts[name], folder, config, loss=class_loss, collate=_collate
        )
        minutes = (time.perf_counter() - start) / 60
        print(json.dumps({"part": name, **result, "minutes": round(minutes, 1)}))


def _init_to_copy(model: Any) -> None:
    """Add identities to the values and projections of attention, so that it copies words; in place.

    With tied embeddings, words that attention passes on become more likely.

    Source: Trockman and Kolter 2023, 2305.09828, who initialise values and projections as
    identities.
    """
    with torch.no_grad():
        for layer in model.model.layers:
            for part in (layer.self_attn.v_proj, layer.self_attn.o_proj):
                part.weight.add_(_IDENTITY * torch.eye(len(part.weight)))


def _collate(examples: Sequence[Example], pad: int) -> dict[str, Any]:
    """A batch without logits before the first token that any row learns."""
    batch = collate(examples, pad)
    first = int((batch["labels"] != IGNORE).any(0).nonzero()[0])
    labels = batch["labels"][:, first:]
    return {**batch, "labels": labels, "logits_to_keep": labels.shape[1]}


def _build_tokenizer(problems: Sequence[WordProblem]) -> PreTrainedTokenizerFast:
    """A tokenizer of 4,096 word pieces without case, so that words are equal at a sentence's start.

    Digits and newlines are single tokens.
    """
    core = Tokenizer(models.WordPiece(unk_token="<unk>"))
    core.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Lowercase()])
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.BertPreTokenizer()]
    )
    core.decoder = decoders.WordPiece()
    trainer = trainers.WordPieceTrainer(
        vocab_size=4096, special_tokens=list(SPECIAL), show_progress=False
    )
    core.train_from_iterator(("\n".join((x.question, *x.steps)) for x in problems), trainer)
    # The filter starts each document with the tokens that the tokenizer puts before an empty text.
    first = [("<bos>", core.token_to_id("<bos>"))]
    core.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=first)
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        unk_token="<unk>",
    )


def _rare_words(problems: Sequence[WordProblem]) -> dict[str, None]:
    """The words that may be replaced, in order of appearance."""
    found = Counter(
        word.lower()
        for x in problems
        for text in (x.question, *x.steps)
        for word in _long_words(text)
    )
    frequent = {word for word, _ in found.most_common(_FREQUENT)}
    return dict.fromkeys(word for word in found if word not in frequent)


def _long_words(text: str) -> list[str]:
    """Words of at least three letters."""
    return [word for word in _WORD.findall(text) if len(word) > 2 and word.isalpha()]


def _replace_words(problem: WordProblem, rare: dict[str, None], rng: random.Random) -> WordProblem:
    """The problem with most of its rare words replaced, each by the same word everywhere."""
    others: dict[str, str] = {}
    choices = list(rare)

    def other(found: re.Match[str]) -> str:
        word = found.group().lower()
        if word not in rare:
            return found.group()
        if word not in others:
            others[word] = rng.choice(choices) if rng.random() < _REPLACED else word
        return others[word]

    texts = [_WORD.sub(other, text) for text in (problem.question, *problem.steps)]
    return WordProblem(texts[0], tuple(texts[1:]))


def _single_step(
    problem: WordProblem, tokenizer: PreTrainedTokenizerFast, rng: random.Random
) -> Example:
    """A random step after a pseudo-rationale, without the rest of the problem."""
    step = rng.choice(problem.steps[:-1])
    rationale = TAGS.around(_pseudo_rationale(step, 0.6, rng))
    return _encode([(f"<bos>{rationale}", False), (f"{step}\n", True)], tokenizer)


def _whole_problem(
    problem: WordProblem, tokenizer: PreTrainedTokenizerFast, rng: random.Random
) -> Example:
    """A problem with a pseudo-rationale before most of its steps."""
    pieces: list[tuple[str, bool]] = [(f"<bos>{problem.question}\n", False)]
    for step in problem.steps[:-1]:
        if rng.random() < _WITH_RATIONALE:
            pieces.append((TAGS.around(_pseudo_rationale(step, 0.3, rng)), False))
        pieces.append((f"{step}\n", True))
    return _encode(pieces, tokenizer)


def _encode(pieces: Sequence[tuple[str, bool]], tokenizer: PreTrainedTokenizerFast) -> Example:
    """A training example of texts, each with whether it is learnt.

    The texts are tokenized one by one, as the filter does.
    """
    ids: list[int] = []
    learnt: list[bool] = []
    for text, learn in pieces:
        new = tokenizer(text, add_special_tokens=False)["input_ids"]
        ids += new
        learnt += [learn] * len(new)
    places = [k - 1 for k in range(1, len(ids)) if learnt[k]]
    return Example(ids, places, [ids[k + 1] for k in places])


def _pseudo_rationale(step: str, least: float, rng: random.Random) -> str:
    """A question made of some words of a step, without its numbers.

    As in real questions, half of the words lose their ending ("makes" -> "make"), and the order may
    change.

    Args:
        step: the step.
        least: the smallest share of the words.
        rng: source of all randomness.
    """
    share = rng.uniform(least, 1.0)
    found = [
        _ENDING.sub("", word) if rng.random() < 0.5 else word
        for word in _WORD.findall(step)
        if not word[0].isdigit() and rng.random() < share
    ]
    if rng.random() < 0.3:
        rng.shuffle(found)
    return " ".join((rng.choice(_QUESTION_WORDS), *found)) + "?"
