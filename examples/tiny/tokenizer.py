"""The tokenizer of the tiny models: byte-level BPE with one token for each digit.

Any text encodes. A digit may carry the space before it (`` 1`` and ``1`` are two tokens), a newline
is always a separate token, and frequent words of the worked solutions are merged.
"""

import json
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<bos>", "<eos>")
RESERVED = tuple(f"<extra_{k}>" for k in range(5))
"""Tokens without a text, for tags that a later training stage adds."""

_PIECES = r"\n| ?\d| ?[A-Za-z]+| ?[^\sA-Za-z\d]|[^\S\n]+"
_CHAT_TEMPLATE = "{% for message in messages %}{{ message['content'] | trim }}\n{% endfor %}"


def with_words(tokenizer: PreTrainedTokenizerFast, words: Sequence[str]) -> PreTrainedTokenizerFast:
    """A copy of a tokenizer in which reserved tokens stand for words, without a chat template.

    Args:
        tokenizer: from ``build_tokenizer``.
        words: at most as many as ``RESERVED``; each becomes one token that is not special.

    Raises:
        ValueError: there are more words than reserved tokens.
    """
    if len(words) > len(RESERVED):
        raise ValueError(f"got {len(words)} words; {len(RESERVED)} tokens are reserved")
    settings = json.loads(tokenizer.backend_tokenizer.to_str())
    names = dict(zip(RESERVED, words, strict=False))
    for token in settings["added_tokens"]:
        if token["content"] in names:
            token |= {"content": names[token["content"]], "special": False}
    vocabulary = settings["model"]["vocab"].items()
    settings["model"]["vocab"] = {names.get(name, name): id for name, id in vocabulary}
    return _wrap(Tokenizer.from_str(json.dumps(settings)), None)


def build_tokenizer(texts: Iterable[str], vocab_size: int = 384) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with merges learnt from texts; equal texts give equal tokenizers.

    Args:
        texts: worked solutions.
        vocab_size: the largest number of tokens.
    """
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[*SPECIAL, *RESERVED],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(texts, trainer)
    bos = core.token_to_id("<bos>")
    core.post_processor = processors.TemplateProcessing(
        single="<bos> $A", pair="<bos> $A $B", special_tokens=[("<bos>", bos)]
    )
    return _wrap(core, _CHAT_TEMPLATE)


def _wrap(core: Tokenizer, chat_template: str | None) -> PreTrainedTokenizerFast:
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=chat_template,
        model_max_length=1024,
    )
