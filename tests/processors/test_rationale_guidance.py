import pytest
import torch
from run_processor import generate

from reason_decode import RationaleGuidanceLogitsProcessor, StepSearch
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, largest, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]


def _processor(tiny: Tiny, weight: float) -> RationaleGuidanceLogitsProcessor:
    writer = RationaleWriter(tiny.model, tiny.tokenizer, chat=False, max_new_tokens=5)
    return RationaleGuidanceLogitsProcessor(writer, tiny.model, tiny.tokenizer, weight=weight)


def _next(tiny: Tiny, text: str, more: list[int]) -> torch.Tensor:
    ids = [*tiny.tokenizer(text)["input_ids"], *more]
    with torch.no_grad():
        return tiny.model(torch.tensor([ids])).logits[0, -1].log_softmax(-1)


@pytest.mark.numeric
def test_guidance_is_the_log_probability_that_the_rationale_adds(tiny: Tiny) -> None:
    """Compared with uncached forward passes over two steps."""
    processor, words = _processor(tiny, 2.0), tiny.tokenizer
    text, lines = PROMPTS[0], ["10 - 4 = 6 (left: 5 6 6)\n", "5 * 6"]
    ids = list(words(text)["input_ids"])
    zeros = torch.zeros(1, tiny.model.config.vocab_size)
    for line in lines:
        prompt = words(text + "<BOT>", return_tensors="pt")["input_ids"]
        new = tiny.model.generate(prompt, max_new_tokens=5, do_sample=False)[0, prompt.shape[1] :]
        rationale = str(words.decode(new, skip_special_tokens=True)).partition("<EOT>")[0].strip()
        more = words(line, add_special_tokens=False)["input_ids"]
        for k in range(len(more)):
            found = processor(torch.tensor([[*ids, *more[:k]]]), zeros)
            logp_with = _next(tiny, f"{text}<BOT>{rationale}<EOT>", more[:k])
            logp_without = _next(tiny, text, more[:k])
            scale = 2.0 * (largest(logp_with) + largest(logp_without))
            terms = roundings(tiny.model)
            expected = 2.0 * (logp_with - logp_without)
            assert_close(found[0], expected, terms=terms, scale=scale)
        text, ids = text + line, [*ids, *more]


def test_guidance_without_weight_changes_nothing(tiny: Tiny) -> None:
    assert generate(tiny, PROMPTS, _processor(tiny, 0)) == generate(tiny, PROMPTS, None)


def test_guidance_of_a_batch_is_that_of_its_rows_call_after_call(tiny: Tiny) -> None:
    processor = _processor(tiny, 0.5)
    both = generate(tiny, PROMPTS, processor)
    assert both != generate(tiny, PROMPTS, None)
    for prompt, text in zip(PROMPTS, both, strict=True):
        assert generate(tiny, [prompt], processor) == [text]


@pytest.mark.slow
def test_guidance_follows_rows_that_a_step_search_branches(tiny: Tiny) -> None:
    search = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=2)
    how = {"do_sample": True, "custom_generate": search}
    idle = generate(tiny, PROMPTS, _processor(tiny, 0), **how)
    assert idle == generate(tiny, PROMPTS, None, **how)
    assert generate(tiny, PROMPTS, _processor(tiny, 1.0), **how) != idle


def test_guidance_rejects_an_infinite_weight(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="weight=inf"):
        _processor(tiny, float("inf"))


def test_the_tags_are_written_as_the_rationale_model_learned_them(tiny: Tiny) -> None:
    """With the generator's tokenizer, <BOT> became five letters, and other text came out."""
    rationalyst = tiny.rationalyst
    writer, model = rationalyst.writer, rationalyst.model
    with pytest.raises(ValueError, match="writes '<BOT>' as the ids .*; pass writer.tokenizer"):
        RationaleGuidanceLogitsProcessor(writer, model, tiny.tokenizer)
    RationaleGuidanceLogitsProcessor(writer, model, writer.tokenizer)
