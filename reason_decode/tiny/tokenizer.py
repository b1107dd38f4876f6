"""The tiny model's tokenizer: byte-level, so that any text encodes, and one token a digit.

A digit may carry the space before it (`` 1`` and ``1`` are two tokens), a newline is always a token
of its own, and frequent words of the worked solutions are merged.
"""

from collections.abc import Iterable

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

SPECIAL = ("<pad>", "<bos>", "<eos>")
RESERVED = tuple(f"<extra_{k}>" for k in range(5))
"""Room for tags and class tokens that later training stages may want."""

_PIECES = r"\n| ?\d| ?[A-Za-z]+| ?[^\sA-Za-z\d]|[^\S\n]+"
_CHAT = "{% for message in messages %}{{ message['content'] | trim }}\n{% endfor %}"


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
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="<pad>",
        bos_token="<bos>",
        eos_token="<eos>",
        padding_side="left",
        clean_up_tokenization_spaces=False,
        chat_template=_CHAT,
        model_max_length=1024,
    )
