import json
import re
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaForCausalLM, PreTrainedTokenizerFast

from reason_decode.mining import Judged, parse_marked
from reason_decode.scorers.writer import TAGS
from reason_decode.tiny import Tiny, arithmetic, countdown, tokenizer, train_rationalyst
from reason_decode.tiny.rationales import COUNTDOWN, Drawn, aims, draw
from reason_decode.tiny.train import config

AIM = re.compile(r"Make (\S+) (.) (\S+)\.")
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


def test_right_aims_make_the_target_of_what_can_be_had_and_others_do_not():
    met = set()
    for document, right in DRAWN:
        problem = countdown.parse_prompt(document.texts[0])
        if problem is None:
            continue
        state, target = tuple(sorted(problem[0])), problem[1]
        for rationale, good, line in zip(
            document.rationales, right, document.texts[1:], strict=True
        ):
            found = AIM.fullmatch(rationale)
            if found and state is not None:
                pair = countdown.to_numbers([found[1], found[3]])
                assert pair is not None
                makes = countdown.apply(pair[0], found[2], pair[1]) == target
                assert good is (makes and tuple(sorted(pair)) in aims(state))
                met.add(good)
            state = countdown.follow(state, line.strip())
    assert met == {True, False}


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


@pytest.mark.filterwarnings("ignore")  # transformers' and torch's own
def test_the_whole_recipe_runs_small_and_goes_on(
    tiny: Tiny, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("accelerate", reason="training needs accelerate")
    monkeypatch.setattr(train_rationalyst, "READ", 0.3)
    monkeypatch.setattr(train_rationalyst, "LABELLED", 0.3)
    shape = config(len(tiny.tokenizer))
    shape.hidden_size, shape.intermediate_size, shape.num_hidden_layers = 16, 16, 1
    torch.manual_seed(0)
    LlamaForCausalLM(shape).save_pretrained(tmp_path / "base")
    tiny.tokenizer.save_pretrained(tmp_path / "base")
    recipe = train_rationalyst.Recipe(epochs=0.5, batch=8)
    how = {"documents": 24, "seed": 0, "reader": recipe, "recipe": recipe}
    with pytest.MonkeyPatch.context() as broken:
        broken.setattr(
            train_rationalyst, "mine", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            train_rationalyst.run(tmp_path / "out", tmp_path / "base", **how)
    told = train_rationalyst.run(tmp_path / "out", tmp_path / "base", **how)
    assert told["examples"] > 0 and told["held_out_loss"] is None or told["loss"]
    rows = (tmp_path / "out" / "mined.jsonl").read_text().splitlines()
    assert {"id", "source", "preceding", "rationale", "following", "delta"} == {
        *json.loads(rows[0])
    }
    model = AutoModelForCausalLM.from_pretrained(tmp_path / "out" / "model")
    assert model.dtype == torch.float32
    assert (tmp_path / "out" / "model" / "tokenizer.json").exists()


def test_drawn_documents_are_read_as_they_were_written(tmp_path: Path):
    train_rationalyst.write_drawn(tmp_path / "drawn.jsonl", DRAWN)
    read = list(train_rationalyst.read_drawn(tmp_path / "drawn.jsonl"))
    assert read == DRAWN and isinstance(read[0], Drawn)
