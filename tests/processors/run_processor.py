"""Generation by the tiny model with a logits processor."""

from typing import Any

import torch

from reason_decode.tiny import Tiny


def generate(tiny: Tiny, prompts: list[str], processor: Any, **options: Any) -> list[str]:
    """The new text of each prompt, decoded greedily unless ``options`` differ, with seed 3."""
    inputs = tiny.tokenizer(prompts, return_tensors="pt", padding=True)
    torch.manual_seed(3)
    arguments = {**inputs, "max_new_tokens": 40, "do_sample": False, **options}
    out = tiny.model.generate(**arguments, logits_processor=processor and [processor])
    new = out[:, inputs["input_ids"].shape[1] :]
    return tiny.tokenizer.batch_decode(new, skip_special_tokens=True)
