"""Baselines of NAT and NCE: LoRA adapters that learn from the same samples by other losses."""

import random
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase as Tokenizer

from reason_decode.training.adapter_config import BaselineConfig
from reason_decode.training.examples import Example, solution_examples
from reason_decode.training.labelled import LabelledSolution
from reason_decode.training.lora import load_with_lora
from reason_decode.training.losses import token_loss
from reason_decode.training.penalties import (
    Penalty,
    add_penalty,
    contrastive_loss,
    negative_training,
    unlikelihood,
    unlikelihood_sequence,
)
from reason_decode.training.trainer import SideInputs, train

__all__ = ["train_baseline"]


def train_baseline(
    model: str | Path,
    tokenizer: Tokenizer,
    right: Sequence[LabelledSolution],
    wrong: Sequence[LabelledSolution],
    output: str | Path,
    config: BaselineConfig,
    *,
    held_out: Sequence[LabelledSolution] = (),
) -> dict[str, Any]:
    r"""Train LoRA matrices by one of the methods that NAT was compared with; peft loads them.

    With ``NLL(D) = -mean log p(token | prompt, tokens before it)`` over the solutions of D::

        ft      NLL(reference solutions), passed as ``right``
        cot-kd  NLL(D_pos)
        mix     NLL(D_pos and D_neg)
        nt      NLL(D_pos) - penalty_weight NLL(D_neg)
        ul      NLL(D_pos) - penalty_weight mean log(1 - p), see ``unlikelihood``
        cl      NLL(D_pos) + penalty_weight contrastive_loss

    For nt, ul and cl each right sample shares its batch with ``negatives_per_positive`` wrong
    samples. They are taken in turn, so that all are used if there are enough right samples; for cl
    they have the prompt of the right sample. With a weight of 0, each optimizer step is that of
    cot-kd.

    Args:
        model: the model to start from, a folder or a Hub id.
        tokenizer: the tokenizer of ``model``.
        right: D_pos, samples with right answers; see ``grade_samples``.
        wrong: D_neg, samples with wrong answers; not used by ft and cot-kd.
        output: folder of the adapter, with checkpoints, log and loss plot.
        config: the settings; an epoch is a pass over the right samples, or for mix over all.
        held_out: right samples whose NLL is measured after every epoch.

    Returns:
        Counts and losses; see ``trainer.train``.

    Raises:
        ModuleNotFoundError: peft or accelerate is not installed.
        ValueError: no sample that the method learns from.

    Source: Li et al. 2024, 2312.12832, section 4 and appendix, equations 15 (nt) and 16 (ul), both
    with a weight of 0.05. cl and its weight are a reconstruction.
    """
    if config.method not in ("ft", "cot-kd") and not wrong:
        raise ValueError(
            f"got no wrong sample, which {config.method} learns from; sample more, or train cot-kd"
        )
    learner = load_with_lora(
        model,
        config.lora_rank,
        alpha=config.lora_alpha,
        target_modules=config.target_modules,
        dropout=config.lora_dropout,
        seed=config.seed,
    )
    encode = partial(
        solution_examples,
        tokenizer=tokenizer,
        model=learner,
        separator=config.separator,
        chat=config.chat,
    )
    penalty = _penalty(config)
    if config.method == "mix":
        examples = list(encode([*right, *wrong]))
    else:
        examples = list(encode(right))
    if penalty is not None:
        encoded = zip((x.prompt for x in wrong), encode(wrong), strict=True)
        fitting = [pair for pair in encoded if len(pair[1].ids) <= config.max_length]
        added = _assign_wrong([x.prompt for x in right], fitting, config)
        examples = [x._replace(wrong=bad) for x, bad in zip(examples, added, strict=True)]
    return train(
        learner,
        tokenizer,
        examples,
        output,
        config,
        held_out=list(encode(held_out)),
        loss=token_loss if penalty is None else add_penalty(penalty, config.penalty_weight),
        side_inputs=None if penalty is None else _take_wrong(config.method == "cl"),
        merge_lora=False,
    )


def _penalty(config: BaselineConfig) -> Penalty | None:
    if config.method == "nt":
        return negative_training
    if config.method == "ul":
        return unlikelihood if config.unlikelihood_level == "token" else unlikelihood_sequence
    return contrastive_loss(config.temperature) if config.method == "cl" else None


def _take_wrong(needs_hidden_states: bool) -> SideInputs:
    """A function that takes the labels of wrong rows out of a batch, for ``add_penalty``."""

    def take(batch: dict[str, Any]) -> Any:
        if needs_hidden_states and "wrong" in batch:
            batch["output_hidden_states"] = True
        return batch.pop("wrong", None)

    return take


def _assign_wrong(
    prompts: Sequence[str], wrong: Sequence[tuple[str, Example]], config: BaselineConfig
) -> Iterator[tuple[Example, ...]]:
    """The wrong examples in the batch of each right one, taken in turn from a shuffled list.

    Args:
        prompts: prompt of each right example.
        wrong: prompt of each wrong example, and the example.
        config: how many to take; ``cl`` takes them from those with the same prompt.
    """
    shuffled = list(wrong)
    random.Random(config.seed).shuffle(shuffled)
    per_prompt, count = config.method == "cl", config.negatives_per_positive
    groups: dict[str, list[Example]] = {}
    for prompt, example in shuffled:
        groups.setdefault(prompt if per_prompt else "", []).append(example)
    next_index = dict.fromkeys(groups, 0)
    for prompt in prompts:
        key = prompt if per_prompt else ""
        group, start = groups.get(key, []), next_index.get(key, 0)
        next_index[key] = start + count
        # At most the whole group: no right example gets the same wrong one twice.
        yield tuple(group[(start + k) % len(group)] for k in range(min(count, len(group))))
