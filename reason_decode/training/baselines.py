"""What NAT and NCE are compared with: LoRA matrices that learn from the same samples otherwise."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.training.examples import Example
from reason_decode.training.grading import solution_examples
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import begin_lora
from reason_decode.training.losses import token_loss
from reason_decode.training.penalties import (
    Penalty,
    add_penalty,
    contrast,
    negative_training,
    unlikelihood,
    unlikelihood_sequence,
)
from reason_decode.training.trainer import TrainingConfig, fit

__all__ = ["Form", "Method", "train_baseline"]

Method = Literal["ft", "cot-kd", "mix", "cl", "nt", "ul"]
Form = Literal["token", "sequence"]


def train_baseline(
    source: str | Path,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    wrong: Sequence[LabelledSolution],
    out: str | Path,
    *,
    method: Method,
    weight: float = 0.05,
    form: Form = "token",
    temperature: float = 0.1,
    beside: int = 1,
    lora: int = 8,
    targets: str | Sequence[str] = "all-linear",
    dropout: float = 0.05,
    separator: str = "\n",
    chat: bool = False,
    recipe: TrainingConfig | None = None,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train LoRA matrices by one of the methods that are published beside NAT; peft loads them.

    With ``NLL(D) = -mean log p(token | prompt, all before it)`` over the solutions of D::

        ft      NLL(reference solutions), to be passed as ``right``
        cot-kd  NLL(D_pos)
        mix     NLL(D_pos and D_neg)
        nt      NLL(D_pos) - weight NLL(D_neg)
        ul      NLL(D_pos) - weight mean log(1 - p), see ``unlikelihood`` and its sequence form
        cl      NLL(D_pos) + weight contrast, see there

    For nt and ul each right sample has ``beside`` wrong ones with it in a batch, dealt out one
    after the other, so that all are learnt from if there are enough right ones; for cl they are of
    the same prompt, as far as there are any. So a weight of 0 is cot-kd, update by update.

    Args:
        source: the model to begin with, a folder or a Hub id.
        tokenizer: its own.
        right: samples with right answers, see ``grade_samples``.
        wrong: those with wrong ones; ft and cot-kd do not read them.
        out: a folder; checkpoints, the log and its plot go there too.
        method: see above.
        weight: of what is learnt from wrong samples, in nt, ul and cl.
        form: of ul.
        temperature: of cl.
        beside: wrong samples that go with a right one, in nt, ul and cl.
        lora: rank of the matrices.
        targets: names of the layers that get them.
        dropout: of the matrices' input.
        separator: what ends a step.
        chat: whether prompts are put in the tokenizer's chat template.
        recipe: how long and how fast; an epoch is one pass over the right samples, or over all for
            mix.
        held_out: right samples, whose NLL is measured after every epoch, whatever the method.

    Returns:
        Counts and losses, see ``fit``.

    Raises:
        ModuleNotFoundError: peft or accelerate is not installed.
        ValueError: no sample that the method learns from, or an argument out of range.

    Source: Li et al. 2024, 2312.12832, section 4 and appendix, equations 15 (nt) and 16 (ul), both
    with a weight of 0.05. cl, and the weight of it, are a reconstruction.
    """
    _check(method, form, weight, beside, wrong)
    penalty = _penalty(method, form, temperature)
    recipe = recipe or TrainingConfig()
    model = begin_lora(source, lora, targets=targets, dropout=dropout, seed=recipe.seed)
    how: dict[str, Any] = {"separator": separator, "chat": chat}

    def examples(solutions: Sequence[LabelledSolution]) -> list[Example]:
        return list(solution_examples(solutions, tokenizer, model, **how))

    if method == "mix":
        learnt = examples([*right, *wrong])
    elif penalty is None:
        learnt = examples(right)
    else:
        fitting = [
            (solution.prompt, example)
            for solution, example in zip(wrong, examples(wrong), strict=True)
            if len(example.ids) <= recipe.max_tokens
        ]
        prompts = [solution.prompt for solution in right]
        dealt = _dealt(prompts, fitting, beside, method == "cl", recipe.seed)
        learnt = [
            x._replace(wrong=beside) for x, beside in zip(examples(right), dealt, strict=True)
        ]
    return fit(
        model,
        tokenizer,
        learnt,
        out,
        held_out=examples(held_out),
        loss=token_loss if penalty is None else add_penalty(penalty, weight),
        tell=None if penalty is None else _take_wrong(hidden=method == "cl"),
        recipe=recipe,
        fold=False,
    )


def _check(
    method: Method, form: Form, weight: float, beside: int, wrong: Sequence[LabelledSolution]
) -> None:
    if method not in get_args(Method) or form not in get_args(Form) or weight < 0 or beside < 1:
        raise ValueError(
            f"got method={method!r}, form={form!r}, weight={weight}, beside={beside}; allowed are "
            f"{', '.join(get_args(Method))}; {', '.join(get_args(Form))}; at least 0; at least 1"
        )
    if method not in ("ft", "cot-kd") and not wrong:
        raise ValueError(
            f"got no wrong sample, which {method} learns from; sample more, or train cot-kd"
        )


def _penalty(method: Method, form: Form, temperature: float) -> Penalty | None:
    if method == "nt":
        return negative_training
    if method == "ul":
        return unlikelihood if form == "token" else unlikelihood_sequence
    return contrast(temperature) if method == "cl" else None


def _take_wrong(hidden: bool) -> Any:
    """What tells the loss the labels of wrong rows, which the model does not read."""

    def tell(batch: dict[str, Any]) -> Any:
        if hidden and "wrong" in batch:
            batch["output_hidden_states"] = True
        return batch.pop("wrong", None)

    return tell


def _dealt(
    prompts: Sequence[str],
    wrong: Sequence[tuple[str, Example]],
    count: int,
    same_prompt: bool,
    seed: int,
) -> Iterator[tuple[Example, ...]]:
    """Wrong examples for each right one: the next of all, or of those of its prompt."""
    order = list(wrong)
    random.Random(seed).shuffle(order)
    hands: dict[str, list[Example]] = {}
    for prompt, example in order:
        hands.setdefault(prompt if same_prompt else "", []).append(example)
    begun = dict.fromkeys(hands, 0)
    for prompt in prompts:
        key = prompt if same_prompt else ""
        hand = hands.get(key, [])
        start = begun.get(key, 0)
        begun[key] = start + count
        # No example twice beside one right sample.
        yield tuple(hand[(start + k) % len(hand)] for k in range(min(count, len(hand))))
