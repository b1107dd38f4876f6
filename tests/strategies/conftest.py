import pytest
import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from examples.tiny.tokenizer import build_tokenizer
from reason_decode.tiny import Tiny


@pytest.fixture(scope="session")
def other(tiny: Tiny, tiny_llama: LlamaForCausalLM) -> Tiny:
    """A random generator with a vocabulary of its own."""
    words: PreTrainedTokenizerFast = build_tokenizer(["a b c d e\n"] * 3, vocab_size=270)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        config = tiny_llama.config.__class__.from_dict(
            {**tiny_llama.config.to_dict(), "vocab_size": len(words)}
        )
        model = LlamaForCausalLM(config).eval()
        # Newlines are made likely, so that steps end within a test's few tokens.
        with torch.no_grad():
            model.lm_head.weight[words.convert_tokens_to_ids("Ċ")] *= 8
    return Tiny(model, words, tiny.prm)
