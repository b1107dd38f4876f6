import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from examples.tiny import countdown_problems, train_rationalyst
from examples.tiny.aims import last_pairs
from examples.tiny.batch import token_id
from examples.tiny.model import model_config
from examples.tiny.rationale_batches import (
    RationaleDataset,
    concatenate,
    encode_as_lines,
    encode_documents,
    encode_tagged,
)
from examples.tiny.rationale_mining import (
    calibrate_groups,
    read_documents,
    to_rows,
    write_documents,
)
from examples.tiny.rationales import COUNTDOWN, LabelledDocument, draw, draw_whole
from examples.tiny.tokenizer import with_words
from reason_decode.core.tags import TAGS
from reason_decode.mining import ScoredRationale, parse_annotated
from reason_decode.scorers import RationaleScorer
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.tasks import arithmetic, countdown
from reason_decode.tiny import Tiny
from reason_decode.training import rationale_examples
from reason_decode.training.examples import IGNORE
from tests.tolerance import assert_close, largest, roundings

AIM = re.compile(r"(\S+) (.) (\S+)")
DRAWN = list(draw(0, 60))


def test_documents_are_right_solutions_of_targets_other_than_24():
    for document, right in DRAWN:
        prompt, lines = document.texts[0].partition("\n")[::2]
        steps = [*lines.splitlines(), *(text.strip() for text in document.texts[1:])]
        if document.source == COUNTDOWN:
            problem = countdown.parse_prompt(f"{prompt}\n")
            assert problem is not None and problem[1] != countdown_problems.HELD_OUT_TARGET
            assert all(countdown.grade_steps(*problem, steps))
        else:
            assert all(arithmetic.grade_steps(prompt.removesuffix(" ="), steps))
        assert len(right) == len(document.rationales)
    assert {x.document.source for x in DRAWN} == {"countdown", "arithmetic"}
    assert list(draw(0, 60)) == DRAWN and list(draw(1, 60)) != DRAWN


def has_right_aims(state: countdown.State, target: int, rationale: str) -> bool:
    """True if every aim that a rationale names can be made and gives the target."""
    *_, named = rationale.removesuffix(".").split(f"{target} = ")
    found = [AIM.fullmatch(aim) for aim in named.split(", ")]
    pairs = [(countdown.parse_numbers([x[1], x[3]]), x[2]) for x in found if x]
    return all(
        pair is not None
        and countdown.calculate(pair[0], op, pair[1]) == target
        and tuple(sorted(pair)) in last_pairs(state)
        for pair, op in pairs
    )


def test_right_rationales_name_right_aims_and_distracting_ones_do_not():
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
            after = countdown.apply_step(state, line.strip())
            assert after is not None
            state = after
    assert met == {(True, True), (True, False), (False, True), (False, False)}


def test_a_later_start_draws_the_same_documents():
    assert list(draw(0, 20, start=40)) == DRAWN[40:]


def test_with_words_makes_reserved_tokens_stand_for_tags(tiny: Tiny):
    tokenizer = with_words(PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS)
    text = f"a{TAGS.around('b')}c\n"
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert len(ids) == 6 and tokenizer.decode(ids, skip_special_tokens=True) == text
    assert len(tokenizer) == len(tiny.tokenizer) and tokenizer.chat_template is None
    plain = "Make 36 from 4 5 6 10.\n"
    assert tokenizer(plain)["input_ids"] == tiny.tokenizer(plain)["input_ids"]
    with pytest.raises(ValueError, match="5 tokens are reserved"):
        with_words(tokenizer, "abcdef")


def scored(source: str, delta: float | None) -> ScoredRationale:
    marked, _ = parse_annotated("1", source, "a<BOT>b<EOT>c")
    return ScoredRationale(marked, 0, delta, delta, 1, "")


def test_groups_whose_deltas_do_not_separate_get_a_lower_precision():
    clear = [scored("arithmetic", x) for x in (3.0, 2.0, 1.0, -1.0)]
    mixed = [scored("countdown", x) for x in (4.0, 3.0, 2.0, 1.0, None)]
    right = [True, True, True, False, False, True, True, True, True]
    found = calibrate_groups([*clear, *mixed], right)
    assert found["arithmetic"].threshold == 0.0 and found["arithmetic"].precision == 1.0
    assert found["countdown 1"].recall == 1.0


@pytest.mark.slow
def test_the_recipe_runs_small_and_resumes(tiny: Tiny, tmp_path: Path):
    shape = model_config(len(tiny.tokenizer))
    shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers = 16, 16, 3
    torch.manual_seed(0)
    LlamaForCausalLM(shape).save_pretrained(tmp_path / "base")
    tiny.tokenizer.save_pretrained(tmp_path / "base")
    config = train_rationalyst.RecipeConfig(
        exercises=18,
        whole_documents=14,
        documents=36,
        shard_size=12,
        epochs=0.5,
        reader_epochs=0.5,
        batch_size=8,
    )
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(
            train_rationalyst,
            "calibrate_on_shard",
            lambda *_: (_ for _ in ()).throw(KeyboardInterrupt),
        )
        with pytest.raises(KeyboardInterrupt):
            train_rationalyst.run(tmp_path / "out", tmp_path / "base", config)
    drawn = (tmp_path / "out" / "drawn" / "0002.jsonl").stat().st_mtime_ns
    exercised = (tmp_path / "out" / "exercised" / "config.json").stat().st_mtime_ns
    totals = train_rationalyst.run(tmp_path / "out", tmp_path / "base", config)
    assert totals["rows"] > 0 and totals["tokens"] > 0
    assert (tmp_path / "out" / "drawn" / "0002.jsonl").stat().st_mtime_ns == drawn
    assert (tmp_path / "out" / "exercised" / "config.json").stat().st_mtime_ns == exercised
    rows = (tmp_path / "out" / "mined" / "0002.jsonl").read_text().splitlines()
    assert {"id", "source", "preceding", "rationale", "following", "delta"} == {
        *json.loads(rows[0])
    }
    assert totals["rows"] == len(rows) + int(len(rows) * 0.25) + config.whole_documents
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert model.dtype == torch.float32
    assert (tmp_path / "out" / "model" / "tokenizer.json").exists()
    with pytest.raises(ValueError, match="at least three shards"):
        train_rationalyst.run(tmp_path / "out", tmp_path / "base", replace(config, shard_size=36))


def test_encoded_rows_are_the_ids_that_the_scorer_reads(tiny: Tiny):
    tokenizer = with_words(PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS)
    rows = to_rows(DRAWN[:6])
    scorer = RationaleScorer(RationaleWriter(tiny.model, tokenizer, chat=False), chat=False)
    for write in (True, False):
        expected, _ = rationale_examples(rows, scorer, loss_on="both" if write else "following")
        found = encode_tagged(rows, tokenizer, learn_rationales=write, share_without_rationale=0.0)
        starts = [0, *found.ends[:-1]]
        for example, start, end, learnt in zip(
            expected, starts, found.ends, found.learnt_from, strict=True
        ):
            ids = found.ids[start:end].tolist()
            assert ids == list(example.ids)[: len(ids)]
            assert ids[learnt:] == list(example.labels)


def test_exercises_have_right_plans_as_lines_of_the_text(tiny: Tiny):
    rows = train_rationalyst.exercise_rows(0, 40)
    assert rows == [
        *train_rationalyst.exercise_rows(0, 25),
        *train_rationalyst.exercise_rows(0, 15, start=25),
    ]
    assert {x.id for x in rows if x.source == "arithmetic"} <= {f"{6 * k}" for k in range(7)}
    tokenizer = PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path)
    found = encode_as_lines(rows, tokenizer)
    starts = [0, *found.ends[:-1]]
    for row, start, end, learnt in zip(rows, starts, found.ends, found.learnt_from, strict=True):
        ids = found.ids[start:end]
        whole = f"{row.preceding}{row.rationale}\n{row.following}"
        assert ids.tolist() == tokenizer(whole)["input_ids"]
        assert tokenizer.decode(ids[learnt:]) == f"{row.rationale}\n{row.following}"
        problem = countdown.parse_prompt(row.preceding.partition("\n")[0] + "\n")
        if problem and countdown.STEP_PATTERN.fullmatch(row.following.strip()):
            steps = row.preceding.splitlines()[1:]
            state = tuple(sorted(problem[0]))
            for line in steps:
                state = countdown.apply_step(state, line)
                assert state is not None
            assert has_right_aims(state, problem[1], row.rationale)


def test_whole_documents_have_a_right_rationale_before_each_step():
    documents = list(draw_whole(0, 12))
    assert list(draw_whole(0, 5, start=7)) == documents[7:]
    for document in documents[::2]:
        assert document.texts[-1].startswith("So the answer is ")
        prompt, *lines = "".join(document.texts).splitlines()
        assert lines == [str(x) for x in arithmetic.solve(prompt.removesuffix(" ="))]
        equations = re.findall(r"(\S+ . \S+) = (\S+), so", "".join(document.texts))
        assert equations == re.findall(r"(\S+ . \S+) = (\S+), [pf]", "\n".join(document.rationales))
    for document in documents[1::2]:
        problem = countdown.parse_prompt(document.texts[0])
        assert problem is not None
        state = tuple(sorted(problem[0]))
        for rationale, step in zip(document.rationales[:-1], document.texts[1:], strict=False):
            assert has_right_aims(state, problem[1], rationale)
            state = countdown.apply_step(state, step.strip())
            assert state is not None


def test_encoded_documents_have_none_to_all_of_their_rationales(tiny: Tiny):
    tokenizer = with_words(PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS)
    documents = list(draw_whole(0, 24))
    found = encode_documents(documents, tokenizer, seed=0)
    shares = []
    for document, ids, learnt in zip(
        documents, np.split(found.ids, found.ends[:-1]), found.learnt_from, strict=True
    ):
        text = str(tokenizer.decode(ids[1:]))
        assert tokenizer.decode(ids[1:learnt]) == document.texts[0]
        marked, unclosed = parse_annotated("1", "", text)
        assert not unclosed and "".join(marked.texts) == "".join(document.texts)
        drawn = iter(document.rationales)
        assert all(x in drawn for x in marked.rationales)
        shares.append(len(marked.rationales) / len(document.rationales))
    assert min(shares) < 0.2 and max(shares) > 0.8
    batches = RationaleDataset(found, tokenizer, 24, seed=0)[0]
    opening = token_id(tokenizer.convert_tokens_to_ids(TAGS.opening))
    assert any((x.ids == opening).any() for x in batches)
    assert not any((x.labels == opening).any() for x in batches)


@pytest.mark.numeric
def test_tags_get_the_embedding_of_a_line_end(tiny: Tiny):
    tokenizer = with_words(PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS)
    shape = model_config(len(tokenizer))
    shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers = 16, 16, 3
    model = LlamaForCausalLM(shape).eval()
    train_rationalyst.init_tag_embeddings(model, tokenizer)

    def logits(text: str) -> torch.Tensor:
        return model(tokenizer(text, return_tensors="pt")["input_ids"]).logits[0, -1]

    tagged, plain = logits("Make 36.\nSo 6.<EOT>10"), logits("Make 36.\nSo 6.\n10")
    assert_close(tagged, plain, terms=roundings(model))
    opening, closing, end = (tokenizer(x)["input_ids"][-1] for x in (*TAGS, "\n"))
    found = torch.stack([tagged[closing], 2 * tagged[opening]])
    assert_close(found, tagged[end].expand(2), terms=roundings(model), scale=largest(tagged))


def test_each_row_comes_once_an_epoch_and_batches_follow_from_the_seed(tiny: Tiny):
    tokenizer = with_words(PreTrainedTokenizerFast.from_pretrained(tiny.model.name_or_path), TAGS)
    rows = encode_tagged(to_rows(DRAWN[:8]), tokenizer, learn_rationales=True)
    whole = concatenate([rows, rows])
    assert len(whole.ends) == 2 * len(rows.ends) and whole.ends[-1] == len(whole.ids)
    data = RationaleDataset(rows, tokenizer, 5, seed=1)
    epoch = [batch for k in range(data.steps(1)) for batch in data[k]]
    assert sum(len(batch.ids) for batch in epoch) == 5 * data.steps(1)
    learnt = [int((x.labels != IGNORE).sum()) for x in epoch]
    again = [
        batch for k in range(data.steps(1)) for batch in RationaleDataset(rows, tokenizer, 5, 1)[k]
    ]
    assert learnt == [int((x.labels != IGNORE).sum()) for x in again]
    for batch in epoch:
        kept = batch.labels != IGNORE
        assert torch.equal(batch.labels[kept], batch.ids[kept])


def test_read_documents_inverts_write_documents(tmp_path: Path):
    write_documents(tmp_path / "drawn.jsonl", DRAWN)
    read = list(read_documents(tmp_path / "drawn.jsonl"))
    assert read == DRAWN and isinstance(read[0], LabelledDocument)
