from importlib import import_module
from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    PreTrainedModel,
)

from reason_decode import tiny
from reason_decode.mining import Dropped, Judged, Marked, Mined, judge, parse_marked
from reason_decode.scorers.writer import TAGS
from tests.tolerance import assert_close

keeping: Any = import_module("reason_decode.mining.keep")  # mining.keep is the function
# Models that have learnt nothing find every token about as likely, whatever their layers add up:
# what is rounded is a last sum over the width, and log(320).
WIDTH = 16
SIZES: dict[str, Any] = {
    "vocab_size": 320,
    "hidden_size": WIDTH,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
}
TOKENIZER = tiny.load().tokenizer
DOCUMENTS = [
    Marked("a", "x", ("Make 36.\n", "4 * 5 = 20\n", "so 36", "!"), ("aim for 6", "then add", "?")),
    Marked("b", "y", ("2 + ", "3 = 5"), ("add 2 and 3",)),
    Marked("c", "x", ("no rationale here",), ()),
]


def model(config: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


MODELS = {
    "llama": lambda: model(LlamaConfig(**SIZES)),
    "gpt2": lambda: model(GPT2Config(vocab_size=320, n_embd=16, n_layer=2, n_head=2)),
    "mistral, sliding window": lambda: model(MistralConfig(**SIZES, sliding_window=5)),
}


def plain(
    judge_model: PreTrainedModel, document: Marked, index: int, discount: float
) -> tuple[float, float]:
    """The sums of two whole passes, from all their logits; the delta is their difference."""

    def ids(text: str) -> list[int]:
        return TOKENIZER(text, add_special_tokens=False)["input_ids"]

    before = [token for text in document.texts[: index + 1] for token in ids(text)]
    behind = ids(document.texts[index + 1])
    head = list(TOKENIZER("")["input_ids"])
    sums: list[float] = []
    for context in (
        [*head, *before, *ids(TAGS.around(document.rationales[index]))],
        [*head, *before],
    ):
        row = torch.tensor([[*context, *behind]])
        logp = judge_model(row).logits[0].detach().double().log_softmax(-1)
        places = torch.arange(len(context) - 1, row.shape[1] - 1)
        taken = logp[places, row[0, places + 1]]
        sums.append(float((taken * discount ** torch.arange(len(behind))).sum()))
    return sums[0], sums[1]


@pytest.mark.numeric
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_one_pass_gives_what_two_whole_passes_give(kind, discount):
    judging = MODELS[kind]()
    found = list(judge(DOCUMENTS, judging, TOKENIZER, discount=discount))
    assert [(x.document.id, x.place) for x in found] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    for each in found:
        told, untold = plain(judging, each.document, each.place, discount)
        assert_close(each.delta, told - untold, terms=WIDTH, scale=-told - untold)


@pytest.mark.numeric
def test_a_batch_changes_nothing():
    judging = MODELS["llama"]()
    alone = list(judge(DOCUMENTS, judging, TOKENIZER, batch=1))
    for one, other in zip(alone, judge(DOCUMENTS, judging, TOKENIZER), strict=True):
        scale = -sum(plain(judging, one.document, one.place, 1.0))
        assert_close(other.delta, one.delta, terms=WIDTH, scale=scale)


def test_thresholds_are_by_source_and_ties_are_kept():
    judging = MODELS["llama"]()
    deltas = {(x.document.id, x.place): x.delta for x in judge(DOCUMENTS, judging, TOKENIZER)}
    least = {"x": float(deltas["a", 1] or 0), "y": 1e9}
    found = list(judge(DOCUMENTS, judging, TOKENIZER, threshold=least, batch=1))
    kept = {(x.document.id, x.place) for x in found if x.kept}
    assert ("a", 1) in kept and ("b", 0) not in kept
    assert found[-1].reason == "the loss falls by less than the threshold"
    with pytest.raises(KeyError, match="'y' and thresholds of 'x'"):
        list(judge(DOCUMENTS, judging, TOKENIZER, threshold={"x": 0.0}))


def test_what_cannot_be_judged_is_set_aside_with_its_reason_and_costs_the_rest_nothing():
    judging = model(LlamaConfig(**SIZES, max_position_embeddings=40))
    odd = Marked("d", "x", ("abc", "def", "", "x" * 60, "end"), ("  ", "why", "how", "late"))
    found: dict[int, Judged] = {x.place: x for x in judge([odd], judging, TOKENIZER)}
    assert found[0].reason == "the rationale is empty"
    assert found[1].reason == "nothing stands behind it"
    assert "and the model reads 40" in found[2].reason and found[2].delta is None
    assert "and the model reads 40" in found[3].reason
    (first,) = judge([Marked("e", "x", ("", "abc"), ("why",))], judging, TOKENIZER)
    assert first.reason == "nothing stands before it"


def test_a_loss_that_is_no_number_is_not_kept():
    judging = MODELS["llama"]()
    torch.nn.init.constant_(judging.get_parameter("lm_head.weight"), float("nan"))
    assert {x.reason for x in judge(DOCUMENTS, judging, TOKENIZER)} == {"the loss is not a number"}


def test_documents_are_read_as_results_are_asked_for():
    taken = []

    def stream():
        for k in range(100):
            taken.append(k)
            yield DOCUMENTS[1]

    results = judge(stream(), MODELS["llama"](), TOKENIZER, batch=2)
    next(results)
    assert len(taken) == 2


def test_parse_marked_joins_what_an_unclosed_tag_would_have_taken():
    marked, unclosed = parse_marked("1", "s", "a<BOT>r<EOT>b<BOT>open c<BOT>q<EOT>d")
    assert marked.texts == ("a", "bopen c", "d") and marked.rationales == ("r", "q")
    assert unclosed == 1
    assert marked.preceding(1) == "abopen c"
    with pytest.raises(ValueError, match="got 1 pieces of text and 1 rationales in 2"):
        Marked("2", "s", ("a",), ("b",))


@pytest.mark.parametrize("how", ["gpu", "cpu"])
def test_without_memory_for_a_batch_it_is_judged_by_halves_and_no_document_is_lost(
    how: str, monkeypatch: pytest.MonkeyPatch
):
    judging, deltas = MODELS["llama"](), keeping._deltas
    whole = list(keeping.keep(DOCUMENTS, judging, TOKENIZER))

    def little(model: Any, laid: Any, *rest: Any) -> Any:
        if any(each.document.id == "a" for each in laid):
            if how == "gpu":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            torch.empty(1 << 60, dtype=torch.uint8)
        return deltas(model, laid, *rest)

    monkeypatch.setattr(keeping, "_deltas", little)
    lost, *others = keeping.keep(DOCUMENTS, judging, TOKENIZER)
    assert isinstance(lost, Dropped) and lost.again and lost.document.id == "a"
    assert lost.reason.startswith("out of memory: ")
    assert [x.id for x in others if isinstance(x, Mined)] == ["b", "c"] and len(whole) == 3
