"""The tiny model's tokenizer: byte-level, so that any text encodes, and one token a digit.

A digit may carry the space before it (`` 1`` and ``1`` are two tokens), a newline is always a token
of its own, and frequent words of the worked solutions are merged.
"""

import json
from collections.abc import Iterable, Sequence

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<bos>", "<eos>")
RESERVED = tuple(f"<extra_{k}>" for k in range(5))
"""Room for tags and class tokens that later training stages may want."""

_PIECES = r"\n| ?\d| ?[A-Za-z]+| ?[^\sA-Za-z\d]|[^\S\n]+"
_CHAT = "{% for message in messages %}{{ message['content'] | trim }}\n{% endfor %}"


def with_words(tokenizer: PreTrainedTokenizerFast, words: Sequence[str]) -> PreTrainedTokenizerFast:
    """The same tokenizer in which reserved tokens stand for words; without its chat template.

    Args:
        tokenizer: one of ``build``.
        words: at most as many as are ``RESERVED``; each is one token, and is plain text.

    Raises:
        ValueError: there are more.
    """
    if len(words) > len(RESERVED):
        raise ValueError(f"got {len(words)} words; {len(RESERVED)} tokens are reserved")
    made = json.loads(tokenizer.backend_tokenizer.to_str())
    names = dict(zip(RESERVED, words, strict=False))
    for token in made["added_tokens"]:
        if token["content"] in names:
            token |= {"content": names[token["content"]], "special": False}
    vocabulary = made["model"]["vocab"].items()
    made["model"]["vocab"] = {names.get(name, name): id for name, id in vocabulary}
    return _wrapped(Tokenizer.from_str(json.dumps(made)), None)


def build(texts: Iterable[str], vocab_size: int = 384) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer whose merges are learned from ``texts``; deterministic."""
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
    return _wrapped(core, _CHAT)


def _wrapped(core: Tokenizer, chat_template: str | None) -> PreTrainedTokenizerFast:
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
