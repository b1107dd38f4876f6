import pytest
import torch
from run_processor import generate

from reason_decode import RationaleGuidanceLogitsProcessor, StepSearch
from reason_decode.scorers.writer import RationaleWriter
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
def test_is_the_difference_that_the_rationale_makes(tiny: Tiny) -> None:
    """Over two steps, everything read anew."""
    processor, words = _processor(tiny, 2.0), tiny.tokenizer
    text, lines = PROMPTS[0], ["10 - 4 = 6 (left: 5 6 6)\n", "5 * 6"]
    ids = list(words(text)["input_ids"])
    zeros = torch.zeros(1, tiny.model.config.vocab_size)
    for line in lines:
        asked = words(text + "<BOT>", return_tensors="pt")["input_ids"]
        new = tiny.model.generate(asked, max_new_tokens=5, do_sample=False)[0, asked.shape[1] :]
        rationale = str(words.decode(new, skip_special_tokens=True)).partition("<EOT>")[0].strip()
        more = words(line, add_special_tokens=False)["input_ids"]
        for k in range(len(more)):
            found = processor(torch.tensor([[*ids, *more[:k]]]), zeros)
            told = _next(tiny, f"{text}<BOT>{rationale}<EOT>", more[:k])
            untold = _next(tiny, text, more[:k])
            scale = 2.0 * (largest(told) + largest(untold))
            terms = roundings(tiny.model)
            assert_close(found[0], 2.0 * (told - untold), terms=terms, scale=scale)
        text, ids = text + line, [*ids, *more]


def test_without_weight_nothing_changes(tiny: Tiny) -> None:
    assert generate(tiny, PROMPTS, _processor(tiny, 0)) == generate(tiny, PROMPTS, None)


def test_a_batch_is_decoded_as_its_members_call_after_call(tiny: Tiny) -> None:
    processor = _processor(tiny, 0.5)
    both = generate(tiny, PROMPTS, processor)
    assert both != generate(tiny, PROMPTS, None)
    for prompt, text in zip(PROMPTS, both, strict=True):
        assert generate(tiny, [prompt], processor) == [text]


def test_rows_may_branch_in_a_step_search(tiny: Tiny) -> None:
    search = StepSearch(tiny.prm, tokenizer=tiny.tokenizer, n=3, beam_width=2)
    how = {"do_sample": True, "custom_generate": search}
    idle = generate(tiny, PROMPTS, _processor(tiny, 0), **how)
    assert idle == generate(tiny, PROMPTS, None, **how)
    assert generate(tiny, PROMPTS, _processor(tiny, 1.0), **how) != idle


def test_a_weight_without_end_is_refused(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="weight=inf"):
        _processor(tiny, float("inf"))
