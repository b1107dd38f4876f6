from typing import Any

import pytest
import torch
from run_strategy import generate, total, traces

from reason_decode import RationaleGuided, RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.tiny import Tiny

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((-1 + 2 + 9 * 5) - (-2 + -4)) =\n"]


def _scorer(tiny: Tiny, tokens: int = 6) -> RationaleScorer:
    writer = RationaleWriter(tiny.model, tiny.tokenizer, chat=False, max_new_tokens=tokens)
    return RationaleScorer(writer, chat=False)


def test_the_likeliest_step_of_each_round_is_kept(tiny: Tiny) -> None:
    out = generate(tiny, RationaleGuided(_scorer(tiny), tokenizer=tiny.tokenizer, n=3), PROMPTS)
    for trace in traces(out):
        assert trace.strategy == "RationaleGuided"
        for k, steps in enumerate(trace.rounds):
            kept = [step for step in steps if step.kept]
            assert total(kept[0]) == max(map(total, steps))
            if kept[0].text:
                assert kept[0].text == trace.best.steps[k]
            assert len({step.rationale for step in steps}) == 1
            assert steps[0].rationale


def test_explicit_rationales_are_read_and_are_no_part_of_the_answer(tiny: Tiny) -> None:
    """Against plain greedy decoding of one line at a time, everything read anew."""
    strategy = RationaleGuided(
        _scorer(tiny), tokenizer=tiny.tokenizer, n=1, supervision="explicit", max_steps=3
    )
    out = generate(tiny, strategy, PROMPTS, do_sample=False)
    words: Any = tiny.tokenizer
    for row, (prompt, trace) in enumerate(zip(PROMPTS, traces(out), strict=True)):
        text = read = said = prompt
        for step in trace.best.steps:
            ids = words(text + "<BOT>", return_tensors="pt")["input_ids"]
            new = tiny.model.generate(ids, max_new_tokens=6, do_sample=False)[0, ids.shape[1] :]
            rationale = words.decode(new, skip_special_tokens=True).partition("<EOT>")[0].strip()
            read += f"<BOT>{rationale}<EOT>"
            line = _greedy_line(tiny, read)
            assert line.removesuffix("\n") == step
            text, read, said = f"{text}{step}\n", read + line, said + line
        assert words.decode(out.sequences[row], skip_special_tokens=True) == said


def _greedy_line(tiny: Tiny, text: str) -> str:
    words: Any = tiny.tokenizer
    ids = words(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        line = tiny.model.generate(
            ids, max_new_tokens=100, do_sample=False, stop_strings=["\n"], tokenizer=words
        )
    return words.decode(line[0, ids.shape[1] :], skip_special_tokens=True)


def test_batches_are_decoded_as_their_members(tiny: Tiny) -> None:
    for supervision in ("implicit", "explicit"):
        strategy = RationaleGuided(
            _scorer(tiny), tokenizer=tiny.tokenizer, n=1, supervision=supervision, max_steps=3
        )
        both = traces(generate(tiny, strategy, PROMPTS, do_sample=False))
        for prompt, trace in zip(PROMPTS, both, strict=True):
            (alone,) = traces(generate(tiny, strategy, [prompt], do_sample=False))
            assert alone.best.text == trace.best.text


def test_rejects_unknown_supervision(tiny: Tiny) -> None:
    how: Any = "both"
    with pytest.raises(ValueError, match="'implicit'"):
        RationaleGuided(_scorer(tiny), tokenizer=tiny.tokenizer, supervision=how)
