from typing import Any

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    LlamaConfig,
    MistralConfig,
    ModernBertDecoderConfig,
    PreTrainedModel,
)

from reason_decode import tiny
from reason_decode.core.tags import TAGS
from reason_decode.mining import (
    AnnotatedDocument,
    Dropped,
    MiningResult,
    ScoredRationale,
    filter_rationales,
    loss_delta_filter,
    parse_annotated,
    score_rationales,
)
from tests.tolerance import assert_close

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
    AnnotatedDocument(
        "a", "x", ("Make 36.\n", "4 * 5 = 20\n", "so 36", "!"), ("aim for 6", "then add", "?")
    ),
    AnnotatedDocument("b", "y", ("2 + ", "3 = 5"), ("add 2 and 3",)),
    AnnotatedDocument("c", "x", ("no rationale here",), ()),
]


def model(config: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config).eval()


MODELS = {
    "llama": lambda: model(LlamaConfig(**SIZES)),
    "gpt2": lambda: model(GPT2Config(vocab_size=320, n_embd=16, n_layer=2, n_head=2)),
    "modernbert, own logits": lambda: model(ModernBertDecoderConfig(**SIZES, pad_token_id=0)),
    "mistral, sliding window": lambda: model(MistralConfig(**SIZES, sliding_window=5)),
}


def plain(
    loss_model: PreTrainedModel, document: AnnotatedDocument, index: int, discount: float
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
        logp = loss_model(row).logits[0].detach().double().log_softmax(-1)
        places = torch.arange(len(context) - 1, row.shape[1] - 1)
        taken = logp[places, row[0, places + 1]]
        sums.append(float((taken * discount ** torch.arange(len(behind))).sum()))
    return sums[0], sums[1]


@pytest.mark.numeric
@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("discount", [0.9, 1.0])
def test_the_delta_is_the_difference_of_two_whole_passes(kind, discount):
    loss_model = MODELS[kind]()
    found = list(score_rationales(DOCUMENTS, loss_model, TOKENIZER, discount=discount))
    assert [(x.document.id, x.index) for x in found] == [("a", 0), ("a", 1), ("a", 2), ("b", 0)]
    for each in found:
        logp_with, logp_without = plain(loss_model, each.document, each.index, discount)
        scale = -logp_with - logp_without
        assert_close(each.delta, logp_with - logp_without, terms=WIDTH, scale=scale)


@pytest.mark.numeric
def test_batching_does_not_change_deltas():
    loss_model = MODELS["llama"]()
    alone = list(score_rationales(DOCUMENTS, loss_model, TOKENIZER, batch_size=1))
    together = score_rationales(DOCUMENTS, loss_model, TOKENIZER)
    for one, other in zip(alone, together, strict=True):
        scale = -sum(plain(loss_model, one.document, one.index, 1.0))
        assert_close(other.delta, one.delta, terms=WIDTH, scale=scale)


def test_thresholds_are_by_source_and_ties_are_kept():
    loss_model = MODELS["llama"]()
    deltas = {
        (x.document.id, x.index): x.delta
        for x in score_rationales(DOCUMENTS, loss_model, TOKENIZER)
    }
    thresholds = {"x": float(deltas["a", 1] or 0), "y": 1e9}
    found = list(
        score_rationales(DOCUMENTS, loss_model, TOKENIZER, min_loss_delta=thresholds, batch_size=1)
    )
    kept = {(x.document.id, x.index) for x in found if x.kept}
    assert ("a", 1) in kept and ("b", 0) not in kept
    assert found[-1].reason == "the loss falls by less than the threshold"
    with pytest.raises(KeyError, match="'y' and thresholds of 'x'"):
        list(score_rationales(DOCUMENTS, loss_model, TOKENIZER, min_loss_delta={"x": 0.0}))


def test_unscored_rationales_have_a_reason():
    loss_model = model(LlamaConfig(**SIZES, max_position_embeddings=40))
    odd = AnnotatedDocument(
        "d", "x", ("abc", "def", "", "x" * 60, "end"), ("  ", "why", "how", "late")
    )
    found: dict[int, ScoredRationale] = {
        x.index: x for x in score_rationales([odd], loss_model, TOKENIZER)
    }
    assert found[0].reason == "the rationale is empty"
    assert found[1].reason == "no text after the rationale"
    assert "and the model reads 40" in found[2].reason and found[2].delta is None
    assert "and the model reads 40" in found[3].reason
    (first,) = score_rationales(
        [AnnotatedDocument("e", "x", ("", "abc"), ("why",))], loss_model, TOKENIZER
    )
    assert first.reason == "no text before the rationale"


def test_nan_losses_are_rejected():
    loss_model = MODELS["llama"]()
    torch.nn.init.constant_(loss_model.get_parameter("lm_head.weight"), float("nan"))
    assert {x.reason for x in score_rationales(DOCUMENTS, loss_model, TOKENIZER)} == {
        "the loss is not a number"
    }


def test_documents_are_read_lazily():
    taken = []

    def stream():
        for k in range(100):
            taken.append(k)
            yield DOCUMENTS[1]

    results = score_rationales(stream(), MODELS["llama"](), TOKENIZER, batch_size=2)
    next(results)
    assert len(taken) == 2


def test_text_after_an_unclosed_tag_stays_text():
    document, unclosed = parse_annotated("1", "s", "a<BOT>r<EOT>b<BOT>open c<BOT>q<EOT>d")
    assert document.texts == ("a", "bopen c", "d") and document.rationales == ("r", "q")
    assert unclosed == 1
    assert document.preceding(1) == "abopen c"
    with pytest.raises(ValueError, match="got 1 pieces of text and 1 rationales in 2"):
        AnnotatedDocument("2", "s", ("a",), ("b",))


@pytest.mark.parametrize("device", ["gpu", "cpu"])
def test_a_batch_out_of_memory_is_split_and_loses_no_document(
    device: str, monkeypatch: pytest.MonkeyPatch
):
    loss_model, deltas = MODELS["llama"](), loss_delta_filter.loss_deltas
    whole = list(filter_rationales(DOCUMENTS, loss_model, TOKENIZER))

    def little(model: Any, documents: Any, *rest: Any) -> Any:
        if any(each.document.id == "a" for each in documents):
            if device == "gpu":
                raise torch.OutOfMemoryError("CUDA out of memory.")
            torch.empty(1 << 60, dtype=torch.uint8)
        return deltas(model, documents, *rest)

    monkeypatch.setattr(loss_delta_filter, "loss_deltas", little)
    lost, *others = filter_rationales(DOCUMENTS, loss_model, TOKENIZER)
    assert isinstance(lost, Dropped) and lost.retryable and lost.document.id == "a"
    assert lost.reason.startswith("out of memory: ")
    assert [x.id for x in others if isinstance(x, MiningResult)] == ["b", "c"] and len(whole) == 3
