import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from reason_decode.mining import Judged, parse_marked
from reason_decode.scorers import RationaleScorer
from reason_decode.scorers.writer import TAGS, RationaleWriter
from reason_decode.tiny import Tiny, arithmetic, countdown, tokenizer, train_rationalyst
from reason_decode.tiny.aims import aims
from reason_decode.tiny.batch import IGNORE, as_id
from reason_decode.tiny.rationale_batches import (
    RationaleBatches,
    encode,
    encode_said,
    encode_whole,
    joined,
)
from reason_decode.tiny.rationales import COUNTDOWN, Drawn, draw, draw_whole
from reason_decode.tiny.train import config
from reason_decode.training import rationale_examples
from tests.tolerance import assert_close, largest, roundings

LAST = re.compile(r"(\S+) (.) (\S+)")
DRAWN = list(draw(0, 60))


def test_documents_are_right_solutions_of_other_targets_than_24():
    for document, right in DRAWN:
        prompt, lines = document.texts[0].partition("\n")[::2]
        steps = [*lines.splitlines(), *(text.strip() for text in document.texts[1:])]
        if document.source == COUNTDOWN:
            problem = countdown.parse_prompt(f"{prompt}\n")
            assert problem is not None and problem[1] != countdown.HELD_OUT_TARGET
            assert all(countdown.check(*problem, steps))
        else:
            assert all(arithmetic.check(prompt.removesuffix(" ="), steps))
        assert len(right) == len(document.rationales)
    assert {x.document.source for x in DRAWN} == {"countdown", "arithmetic"}
    assert list(draw(0, 60)) == DRAWN and list(draw(1, 60)) != DRAWN


def has_right_aims(state: countdown.State, target: int, rationale: str) -> bool:
    """Whether every aim that a rationale names makes the target of what can be had."""
    told = next(part for part in rationale.split(f"{target} = ")[::-1]).removesuffix(".")
    found = [LAST.fullmatch(aim) for aim in told.split(", ")]
    pairs = [(countdown.to_numbers([x[1], x[3]]), x[2]) for x in found if x]
    return all(
        pair is not None
        and countdown.apply(pair[0], op, pair[1]) == target
        and tuple(sorted(pair)) in aims(state)
        for pair, op in pairs
    )


def test_right_aims_make_the_target_of_what_can_be_had_and_others_do_not():
    met = set()
    for document, right in DRAWN:
        problem = countdown.parse_prompt(document.texts[0])
        if problem is None:
            continue
        state = tuple(sorted(problem[0]))
        for rationale, good, line in zip(
            document.rationales[:-1], right, document.texts[1:], strict=False
        ):
            assert has_right_aims(state, problem[1], rationale) is good
            met.add((good, rationale.startswith(f"{problem[1]} = ")))
            after = countdown.follow(state, line.strip())
            assert after is not None
            state = after
    assert met == {(True, True), (True, False), (False, True), (False, False)}


def test_a_shard_is_drawn_as_the_whole_is():
    assert list(draw(0, 20, start=40)) == DRAWN[40:]


def test_reserved_tokens_stand_for_the_tags(tiny: Tiny):
    words = tokenizer.with_words(
        PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS
    )
    text = f"a{TAGS.around('b')}c\n"
    ids = words(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == 6 and words.decode(ids, skip_special_tokens=True) == text
    assert len(words) == len(tiny.tokenizer) and words.chat_template is None
    plain = "Make 36 from 4 5 6 10.\n"
    assert words(plain)["input_ids"] == tiny.tokenizer(plain)["input_ids"]
    with pytest.raises(ValueError, match="5 tokens are reserved"):
        tokenizer.with_words(words, "abcdef")


def judged(source: str, delta: float | None) -> Judged:
    marked, _ = parse_marked("1", source, "a<BOT>b<EOT>c")
    return Judged(marked, 0, delta, delta, 1, "")


def test_what_cannot_be_told_apart_is_kept_at_a_lower_precision():
    clear = [judged("arithmetic", x) for x in (3.0, 2.0, 1.0, -1.0)]
    mixed = [judged("countdown", x) for x in (4.0, 3.0, 2.0, 1.0, None)]
    right = [True, True, True, False, False, True, True, True, True]
    found = train_rationalyst.thresholds([*clear, *mixed], right)
    assert found["arithmetic"].threshold == 0.0 and found["arithmetic"].precision == 1.0
    assert found["countdown 1"].recall == 1.0


def test_the_whole_recipe_runs_small_and_goes_on(tiny: Tiny, tmp_path: Path):
    shape = config(len(tiny.tokenizer))
    shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers = 16, 16, 3
    torch.manual_seed(0)
    LlamaForCausalLM(shape).save_pretrained(tmp_path / "base")
    tiny.tokenizer.save_pretrained(tmp_path / "base")
    recipe = train_rationalyst.Recipe(
        exercises=18, whole=14, documents=36, shard=12, epochs=0.5, read_epochs=0.5, size=8
    )
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(
            train_rationalyst, "label", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            train_rationalyst.run(tmp_path / "out", tmp_path / "base", recipe)
    drawn = (tmp_path / "out" / "drawn" / "0002.jsonl").stat().st_mtime_ns
    exercised = (tmp_path / "out" / "exercised" / "config.json").stat().st_mtime_ns
    told = train_rationalyst.run(tmp_path / "out", tmp_path / "base", recipe)
    assert told["rows"] > 0 and told["tokens"] > 0
    assert (tmp_path / "out" / "drawn" / "0002.jsonl").stat().st_mtime_ns == drawn
    assert (tmp_path / "out" / "exercised" / "config.json").stat().st_mtime_ns == exercised
    rows = (tmp_path / "out" / "mined" / "0002.jsonl").read_text().splitlines()
    assert {"id", "source", "preceding", "rationale", "following", "delta"} == {
        *json.loads(rows[0])
    }
    assert told["rows"] == len(rows) + int(len(rows) * 0.25) + recipe.whole
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert model.dtype == torch.float32
    assert (tmp_path / "out" / "model" / "tokenizer.json").exists()
    with pytest.raises(ValueError, match="at least three shards"):
        train_rationalyst.run(tmp_path / "out", tmp_path / "base", recipe._replace(shard=36))


def test_encoded_rows_are_what_the_scorer_reads(tiny: Tiny):
    words = tokenizer.with_words(
        PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS
    )
    rows = train_rationalyst.all_mined(DRAWN[:6])
    scorer = RationaleScorer(RationaleWriter(tiny.model, words, chat=False), chat=False)
    for write in (True, False):
        expected, _ = rationale_examples(rows, scorer, learn="both" if write else "following")
        found = encode(rows, words, write=write, bare=0.0)
        starts = [0, *found.ends[:-1]]
        for example, start, end, learnt in zip(
            expected, starts, found.ends, found.learnt, strict=True
        ):
            ids = found.ids[start:end].tolist()
            assert ids == list(example.ids)[: len(ids)]
            assert ids[learnt:] == list(example.classes)


def test_exercises_say_right_plans_as_a_line_of_the_text(tiny: Tiny):
    rows = train_rationalyst.exercises(0, 40)
    assert rows == [
        *train_rationalyst.exercises(0, 25),
        *train_rationalyst.exercises(0, 15, start=25),
    ]
    assert {x.id for x in rows if x.source == "arithmetic"} <= {f"{6 * k}" for k in range(7)}
    words = PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path)
    found = encode_said(rows, words)
    starts = [0, *found.ends[:-1]]
    for row, start, end, learnt in zip(rows, starts, found.ends, found.learnt, strict=True):
        ids = found.ids[start:end]
        whole = f"{row.preceding}{row.rationale}\n{row.following}"
        assert ids.tolist() == words(whole)["input_ids"]
        assert words.decode(ids[learnt:]) == f"{row.rationale}\n{row.following}"
        problem = countdown.parse_prompt(row.preceding.partition("\n")[0] + "\n")
        if problem and countdown.STEP.fullmatch(row.following.strip()):
            steps = row.preceding.splitlines()[1:]
            state = tuple(sorted(problem[0]))
            for line in steps:
                state = countdown.follow(state, line)
                assert state is not None
            assert has_right_aims(state, problem[1], row.rationale)


def test_whole_documents_have_a_right_rationale_before_each_step():
    documents = list(draw_whole(0, 12))
    assert list(draw_whole(0, 5, start=7)) == documents[7:]
    for document in documents[::2]:
        assert document.texts[-1].startswith("So the answer is ")
        prompt, *lines = "".join(document.texts).splitlines()
        assert lines == [str(x) for x in arithmetic.lines(prompt.removesuffix(" ="))]
        equations = re.findall(r"(\S+ . \S+) = (\S+), so", "".join(document.texts))
        assert equations == re.findall(r"(\S+ . \S+) = (\S+), [pf]", "\n".join(document.rationales))
    for document in documents[1::2]:
        problem = countdown.parse_prompt(document.texts[0])
        assert problem is not None
        state = tuple(sorted(problem[0]))
        for rationale, step in zip(document.rationales[:-1], document.texts[1:], strict=False):
            assert has_right_aims(state, problem[1], rationale)
            state = countdown.follow(state, step.strip())
            assert state is not None


def test_whole_rows_are_documents_with_none_to_all_of_their_rationales(tiny: Tiny):
    words = tokenizer.with_words(
        PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS
    )
    documents = list(draw_whole(0, 24))
    found = encode_whole(documents, words, seed=0)
    shares = []
    for document, ids, learnt in zip(
        documents, np.split(found.ids, found.ends[:-1]), found.learnt, strict=True
    ):
        text = str(words.decode(ids[1:]))
        assert words.decode(ids[1:learnt]) == document.texts[0]
        marked, unclosed = parse_marked("1", "", text)
        assert not unclosed and "".join(marked.texts) == "".join(document.texts)
        said = iter(document.rationales)
        assert all(x in said for x in marked.rationales)
        shares.append(len(marked.rationales) / len(document.rationales))
    assert min(shares) < 0.2 and max(shares) > 0.8
    batches = RationaleBatches(found, words, 24, seed=0)[0]
    opening = as_id(words.convert_tokens_to_ids(TAGS.opening))
    assert any((x.ids == opening).any() for x in batches)
    assert not any((x.labels == opening).any() for x in batches)


@pytest.mark.numeric
def test_after_the_exercises_tags_are_read_as_the_ends_of_lines(tiny: Tiny):
    words = tokenizer.with_words(
        PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS
    )
    shape = config(len(words))
    shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers = 16, 16, 3
    model = LlamaForCausalLM(shape).eval()
    train_rationalyst.as_line_ends(model, words)

    def logits(text: str) -> torch.Tensor:
        return model(words(text, return_tensors="pt")["input_ids"]).logits[0, -1]

    tagged, plain = logits("Make 36.\nSo 6.<EOT>10"), logits("Make 36.\nSo 6.\n10")
    assert_close(tagged, plain, terms=roundings(model))
    opening, closing, end = (words(x)["input_ids"][-1] for x in (*TAGS, "\n"))
    found = torch.stack([tagged[closing], 2 * tagged[opening]])
    assert_close(found, tagged[end].expand(2), terms=roundings(model), scale=largest(tagged))


def test_every_row_comes_once_an_epoch_and_steps_follow_from_the_seed(tiny: Tiny):
    words = tokenizer.with_words(
        PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS
    )
    rows = encode(train_rationalyst.all_mined(DRAWN[:8]), words, write=True)
    whole = joined([rows, rows])
    assert len(whole.ends) == 2 * len(rows.ends) and whole.ends[-1] == len(whole.ids)
    data = RationaleBatches(rows, words, 5, seed=1)
    epoch = [batch for k in range(data.steps(1)) for batch in data[k]]
    assert sum(len(batch.ids) for batch in epoch) == 5 * data.steps(1)
    learnt = [int((x.labels != IGNORE).sum()) for x in epoch]
    again = [
        batch for k in range(data.steps(1)) for batch in RationaleBatches(rows, words, 5, 1)[k]
    ]
    assert learnt == [int((x.labels != IGNORE).sum()) for x in again]
    for batch in epoch:
        kept = batch.labels != IGNORE
        assert torch.equal(batch.labels[kept], batch.ids[kept])


def test_drawn_documents_are_read_as_they_were_written(tmp_path: Path):
    train_rationalyst.write_drawn(tmp_path / "drawn.jsonl", DRAWN)
    read = list(train_rationalyst.read_drawn(tmp_path / "drawn.jsonl"))
    assert read == DRAWN and isinstance(read[0], Drawn)
