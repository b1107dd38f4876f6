"""Strategies over models that think: which part is an answer, and which part a scorer reads."""

from pathlib import Path
from typing import Any

import pytest
import torch
from chat_templates import CHATML, THINKS, tokenizer
from test_chat_prompts import random_model
from torch import Tensor
from transformers import LogitsProcessor

from reason_decode import BestOfN, Scorer, SelfConsistency, StepSearch
from reason_decode.core.thinking import HARMONY
from reason_decode.scorers import to_steps
from reason_decode.strategies.load import from_settings
from reason_decode.strategies.selection import BestOfNSelector, VoteSelector

DRAFT = "Is it \\boxed{7}? Perhaps"
CLOSED = "2 + 3\nmakes 5?\n</think>\n\nWe add.\nIt is \\boxed{5}."


class Reads(Scorer):
    """Scores a step by its length, and remembers the steps."""

    score_space = "probability"

    def __init__(self, per_step: bool = True) -> None:
        self.per_step, self.seen = per_step, list[str]()

    def score(self, prompts: Any, solutions: Any) -> list[Tensor]:
        steps = to_steps(solutions, self.splitter)
        self.seen += [x if isinstance(x, str) else "\n".join(x) for x in solutions]
        return [torch.tensor([1 / (1 + len(x)) for x in one]) for one in steps]


class Says(LogitsProcessor):
    """Makes row r say the r-th text."""

    def __init__(self, words: Any, texts: list[str], width: int) -> None:
        self.rows = [[*words(text)["input_ids"], words.eos_token_id] for text in texts]
        self.width = width

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        scores = torch.full_like(scores, -1e9)
        for r, row in enumerate(input_ids):
            said = self.rows[r % len(self.rows)]
            place = min(len(row) - self.width, len(said) - 1)
            scores[r, said[place]] = 0.0
        return scores


def words_of(template: str, *special: str) -> Any:
    words = tokenizer(template)
    words.add_special_tokens({"pad_token": "<pad>", "additional_special_tokens": [*special]})
    return words


def say(strategy: Any, texts: list[str], question: str = "2+3?", **options: Any) -> Any:
    """The trace of a strategy over a model that says these texts."""
    words = strategy.tokenizer
    messages = [{"role": "user", "content": question}]
    inputs = words.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=True, return_tensors="pt"
    )
    model = random_model(300)
    model.generation_config.eos_token_id = words.eos_token_id
    model.generation_config.pad_token_id = words.pad_token_id
    out = model.generate(
        **inputs,
        **{"max_new_tokens": 200, "do_sample": True, "return_dict_in_generate": True, **options},
        custom_generate=strategy,
        logits_processor=[Says(words, texts, inputs["input_ids"].shape[1])],
    )
    return out.traces[0]


def test_a_draft_in_a_thought_that_the_prompt_opened_has_no_vote() -> None:
    """An R1-like template opens the thought, so that an unfinished draft had no tag and voted."""
    vote = SelfConsistency(tokenizer=words_of(THINKS), n=4)
    trace = say(vote, [DRAFT, DRAFT, CLOSED, DRAFT])
    assert trace.votes == {"5": 1.0} and trace.best.text == CLOSED
    assert all(candidate.in_thought for candidate in trace.candidates)
    early = SelfConsistency(tokenizer=words_of(THINKS), n=4, early_stop="decided")
    assert say(early, [CLOSED]).best.answer == "5"


def test_tags_of_ones_own_are_read_and_saved(tmp_path: Path) -> None:
    words = words_of(CHATML)
    vote = SelfConsistency(tokenizer=words, n=2, thinking_tags=("<mull>", "</mull>"))
    assert say(vote, ["<mull>\\boxed{7}</mull>\\boxed{5}"]).votes == {"5": 2.0}
    vote.save_pretrained(tmp_path)
    scope: dict[str, Any] = {}
    exec((tmp_path / "custom_generate" / "generate.py").read_text(), scope)
    assert from_settings(scope["SETTINGS"], words).tags == ("<mull>", "</mull>")
    with pytest.raises(ValueError, match="got thinking_tags="):
        SelfConsistency(tokenizer=words, thinking_tags=("<mull>",))


def test_special_tokens_of_the_tags_stay_in_the_text() -> None:
    """The channels of gpt-oss are special tokens, and a text without them was all answer."""
    special = ("<|channel|>", "<|message|>", "<|start|>", "<|end|>")
    words = words_of(CHATML + "{# " + "".join(HARMONY) + " #}", *special)
    said = f"{HARMONY.opening}\\boxed{{7}}?<|end|><|start|>assistant{HARMONY.closing}\\boxed{{5}}"
    reads = Reads()
    best = BestOfN(reads, tokenizer=words, n=1, score_part="thought")
    trace = say(best, [said])
    assert trace.best.text == said.replace("<|end|><|start|>", "") and reads.seen == ["\\boxed{7}?"]
    assert say(SelfConsistency(tokenizer=words, n=2), [said]).votes == {"5": 2.0}


@pytest.mark.parametrize("per_step", [True, False])
@pytest.mark.parametrize(
    ("part", "seen"),
    [
        ("both", CLOSED),
        ("answer", "We add.\nIt is \\boxed{5}."),
        ("thought", "2 + 3\nmakes 5?"),
    ],
)
def test_a_scorer_reads_the_part_that_it_is_to_read(part: Any, seen: str, per_step: bool) -> None:
    """Nothing kept a thought from a scorer that was trained on answers."""
    for make in (BestOfN, SelfConsistency):
        reads = Reads(per_step)
        strategy = make(scorer=reads, tokenizer=words_of(THINKS), n=1, score_part=part)
        trace = say(strategy, [CLOSED])
        kept = [line for line in seen.split("\n") if line] if per_step else seen.split("\n")
        assert reads.seen == ["\n".join(kept)]
        assert trace.best.text == CLOSED and len(trace.best.steps) == len(trace.best.scores)


def test_a_candidate_without_the_part_has_the_lowest_total() -> None:
    best = BestOfN(Reads(), tokenizer=words_of(THINKS), n=2, score_part="answer")
    trace = say(best, [DRAFT, CLOSED])
    assert trace.candidates[0].scores == () and trace.candidates[0].total == 0.0
    assert trace.best.text == CLOSED


def test_a_search_has_steps_within_the_part_alone() -> None:
    """A search paused at every line of a thought, also where its scorer reads answers."""
    words = words_of(THINKS)
    expected = {
        "both": ["2 + 3", "makes 5?", "</think>", "We add.", "It is \\boxed{5}."],
        "answer": ["We add.", "It is \\boxed{5}."],
        "thought": ["2 + 3", "makes 5?"],
    }
    for part, steps in expected.items():
        reads = Reads()
        search = StepSearch(reads, tokenizer=words, n=2, score_part=part)  # pyright: ignore[reportArgumentType]
        trace = say(search, [CLOSED])
        assert list(trace.best.steps) == steps and trace.best.text == CLOSED
        # The answer behind a thought is one more round.
        assert len(trace.rounds) == len(steps) + (part == "thought")
        assert len(trace.best.scores) == len(steps)
        assert reads.seen[-1] == "\n".join(steps)
    looking = StepSearch(Reads(), tokenizer=words, n=2, lookahead=1, score_part="answer")
    assert list(say(looking, [CLOSED]).best.steps) == expected["answer"]
    by_length = Reads()
    by_length.splitter = by_length.splitter.__class__(tokens=6, tokenizer=words)
    trace = say(StepSearch(by_length, tokenizer=words, n=2, score_part="answer"), [CLOSED])
    assert "".join(trace.best.steps).strip() == expected["answer"][0] + "\n" + expected["answer"][1]


def test_selectors_read_parts_of_texts_from_anywhere() -> None:
    selector = BestOfNSelector(Reads(), score_part="answer")
    assert selector.candidate("<think>a</think>\n\nb\nc").steps == ("b", "c")
    vote = VoteSelector(thinking_tags=("<mull>", "</mull>"))
    texts = ["<mull>\\boxed{7}</mull>\\boxed{5}", "<mull>\\boxed{7}"]
    (trace,), _ = vote.select(["2+3?"], [[vote.candidate(text) for text in texts]])
    assert trace.votes == {"5": 1.0}
    with pytest.raises(ValueError, match="got score_part="):
        VoteSelector(score_part="all")  # pyright: ignore[reportArgumentType]


def test_a_response_of_an_unfinished_thought_has_no_answer() -> None:
    words = words_of(THINKS)
    best = BestOfN(Reads(), tokenizer=words, n=1)
    model = random_model(300)
    response = best.chat(model, "2+3?", max_new_tokens=4)
    assert response.answer is None and response.trace.best.in_thought
