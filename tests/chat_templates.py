"""Small chat templates, tokenizers of single bytes that have them, and conversations."""

from typing import Any

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast

CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
DEFAULT_SYSTEM = (
    "{% if messages[0].role != 'system' %}<|im_start|>system\nYou are Q.<|im_end|>\n{% endif %}"
    + CHATML
)
TRIMS = CHATML.replace("m.content", "m.content | trim")
THINKS = CHATML.replace("assistant\n{% endif", "assistant\n<think>\n{% endif")
SYSTEM_BY_BLANK_LINE = (
    "{% if messages[0].role == 'system' %}{% set s = messages[0].content + '\n\n' %}"
    "{% set messages = messages[1:] %}{% else %}{% set s = '' %}{% endif %}"
    "{% for m in messages %}<turn>{{ m.role }}\n{{ s if loop.first else '' }}{{ m.content }}<end>\n"
    "{% endfor %}{% if add_generation_prompt %}<turn>model\n{% endif %}"
)
NO_SYSTEM = "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}" + CHATML


def tokenizer(template: str | None, bos: str | None = None) -> Any:
    """A tokenizer of single bytes with a template."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={c: i for i, c in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    fast: Any = PreTrainedTokenizerFast(tokenizer_object=made, bos_token=bos, eos_token="</s>")
    fast.chat_template = template
    return fast


def chat(*contents: str, system: str | None = None) -> list[dict[str, str]]:
    turns = [
        {"role": "assistant" if k % 2 else "user", "content": content}
        for k, content in enumerate(contents)
    ]
    return turns if system is None else [{"role": "system", "content": system}, *turns]
