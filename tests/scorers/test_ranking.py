import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import elu
from transformers import (
    AutoModel,
    BartConfig,
    BertConfig,
    BertModel,
    LlamaModel,
    RobertaModel,
    T5Config,
    T5EncoderModel,
    T5Model,
)

from reason_decode import RankingModel
from reason_decode.scorers.encoder_session import body_auto_class
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 36 from 4 5 6 10.\n", "((1 + 2) * (3 - 4)) =\n"]
SOLUTIONS = ["10 - 4 = 6 (left: 5 6 6)\n5 * 6 = 30 (left: 6 30)", "A is 1 + 2."]


@pytest.fixture(scope="module")
def ranker(tiny: Tiny) -> RankingModel:
    shape = {**tiny.model.config.to_dict(), "num_hidden_layers": 2}
    with torch.random.fork_rng():
        torch.manual_seed(3)
        body = LlamaModel(type(tiny.model.config).from_dict(shape))
        return RankingModel(body, tiny.tokenizer, chat=False)


@pytest.mark.numeric
@pytest.mark.parametrize("chat", [False, True])
def test_equals_the_published_head_on_the_mean_of_the_solution(
    ranker: RankingModel, tiny: Tiny, chat: bool
) -> None:
    tokenizer: Any = tiny.tokenizer
    same_body = RankingModel(ranker.model, tokenizer, chat=chat)
    head: Any = ranker.model.get_submodule("reward_head")
    for (score,), prompt, solution in zip(
        same_body.score(PROMPTS, SOLUTIONS), PROMPTS, SOLUTIONS, strict=True
    ):
        if chat:
            turns = [{"role": "user", "content": prompt}]
            before = str(
                tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
            )
            start = tokenizer(before, add_special_tokens=False)["input_ids"]
        else:
            start = tokenizer(prompt)["input_ids"]
        ids = start + tokenizer(f"{solution}\n", add_special_tokens=False)["input_ids"]
        with torch.no_grad():
            hidden = ranker.model(torch.tensor([ids])).last_hidden_state[0, len(start) :]
            x = hidden.mean(0)
            x = elu(head.first.weight @ x + head.first.bias) + x
            x = elu(head.second.weight @ x + head.second.bias) + x
            plain = (head.out.weight @ x + head.out.bias).sigmoid()[0]
        assert_close(score, plain, terms=roundings(same_body.model))


@pytest.mark.numeric
def test_is_the_same_when_saved_and_loaded(ranker: RankingModel, tmp_path: Path) -> None:
    ranker.save_pretrained(tmp_path)
    again = RankingModel.from_pretrained(tmp_path, chat=False)
    found, saved = (x.score(PROMPTS, SOLUTIONS) for x in (again, ranker))
    assert_close(found, saved, terms=roundings(ranker.model))


def test_rejects_models_with_another_head(tiny: Tiny, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="got LlamaForCausalLM; a ranker has a head of its own"):
        RankingModel(tiny.model, tiny.tokenizer)
    tiny.model.save_pretrained(tmp_path)
    assert AutoModel.from_pretrained(tmp_path).config.model_type == "llama"
    with pytest.raises(ValueError, match="got no tensor reward_head"):
        RankingModel.from_pretrained(tmp_path)


SMALL: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}


@pytest.fixture(scope="module")
def pair_tokenizer(tiny: Tiny) -> Any:
    """The packaged tokenizer with the marks of a pair, which encoders know."""
    tokenizer: Any = copy.deepcopy(tiny.tokenizer)
    tokenizer.add_special_tokens({"cls_token": "[CLS]", "sep_token": "[SEP]"})
    tokenizer.chat_template = None
    return tokenizer


@pytest.fixture(scope="module")
def encoder(pair_tokenizer: Any) -> RankingModel:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        body = BertModel(BertConfig(vocab_size=len(pair_tokenizer), **SMALL))
        return RankingModel(body, pair_tokenizer)


@pytest.mark.numeric
def test_an_encoder_reads_a_pair_of_two_kinds(encoder: RankingModel, pair_tokenizer: Any) -> None:
    assert encoder.is_encoder and encoder.window == 64
    score = encoder.score(PROMPTS[1:], SOLUTIONS[1:])[0]
    prompt_ids, solution_ids = (
        pair_tokenizer(x, add_special_tokens=False)["input_ids"] for x in (PROMPTS[1], SOLUTIONS[1])
    )
    before = [pair_tokenizer.cls_token_id, *prompt_ids, pair_tokenizer.sep_token_id]
    ids = torch.tensor([[*before, *solution_ids, pair_tokenizer.sep_token_id]])
    token_types = (torch.arange(ids.shape[1]) >= len(before)).long()[None]
    with torch.no_grad():
        hidden = encoder.model(input_ids=ids, token_type_ids=token_types).last_hidden_state[0]
        head: Any = encoder.model.get_submodule("reward_head")
        plain = head(hidden[len(before) : -1].mean(0))
    assert_close(score[0], plain, terms=roundings(encoder.model))


def test_long_pairs_are_truncated_from_the_left(encoder: RankingModel, pair_tokenizer: Any) -> None:
    cut = RankingModel(encoder.model, pair_tokenizer, window=21)
    long = "\n".join(["1 + 2 = 3", *SOLUTIONS, "5 + 5 = 10"])
    layout = cut.encode(PROMPTS[0], long.split("\n"))
    assert len(layout.ids) == 21
    middle = layout.ids.index(pair_tokenizer.sep_token_id)
    kept = [pair_tokenizer.decode(x) for x in (layout.ids[1:middle], layout.ids[middle + 1 : -1])]
    assert PROMPTS[0].endswith(kept[0].lstrip()) and long.endswith(kept[1].lstrip())
    assert list(layout.spans[0]) == list(range(middle + 1, 20))
    with pytest.raises(ValueError, match="got a window of 5 tokens"):
        RankingModel(encoder.model, pair_tokenizer, window=5)
    with pytest.raises(ValueError, match="got chat=True for BertModel, an encoder"):
        RankingModel(encoder.model, pair_tokenizer, chat=True)


@pytest.mark.numeric
@pytest.mark.parametrize("kind", [BertModel, RobertaModel])
def test_truncated_tokens_keep_their_positions(pair_tokenizer: Any, kind: Any) -> None:
    """As if they were there and masked, whichever position the model counts from."""
    torch.manual_seed(3)
    body = kind(
        kind.config_class(
            vocab_size=len(pair_tokenizer), pad_token_id=pair_tokenizer.pad_token_id, **SMALL
        )
    )
    ranker = RankingModel(body, pair_tokenizer, window=24)
    prompt_ids, solution_ids = (
        pair_tokenizer(x, add_special_tokens=False)["input_ids"] for x in ("4 5 6 =", SOLUTIONS[0])
    )
    before = [pair_tokenizer.cls_token_id, *prompt_ids, pair_tokenizer.sep_token_id]
    whole = torch.tensor([[*before, *solution_ids, pair_tokenizer.sep_token_id]])
    cut = whole.shape[1] - 24
    assert cut > 3
    mask = torch.ones_like(whole)
    mask[:, len(before) : len(before) + cut] = 0
    token_types = (torch.arange(whole.shape[1]) >= len(before)).long()[None]
    with torch.no_grad():
        hidden = body(whole, attention_mask=mask, token_type_ids=token_types).last_hidden_state[
            0, len(before) + cut : -1
        ]
        plain = ranker.model.get_submodule("reward_head")(hidden.mean(0))
    score = ranker.score(["4 5 6 ="], SOLUTIONS[:1])[0][0]
    assert_close(score, plain, terms=roundings(ranker.model))


@pytest.mark.numeric
def test_an_encoder_keeps_its_window_when_saved(
    encoder: RankingModel, pair_tokenizer: Any, tmp_path: Path
) -> None:
    cut = RankingModel(encoder.model, pair_tokenizer, window=21)
    cut.save_pretrained(tmp_path)
    again = RankingModel.from_pretrained(tmp_path)
    assert again.window == 21 and pair_tokenizer.model_max_length > 21
    found, saved = (x.score(PROMPTS, SOLUTIONS) for x in (again, cut))
    assert_close(found, saved, terms=roundings(cut.model))


@pytest.mark.numeric
def test_t5_is_read_by_its_encoder(tiny: Tiny, tmp_path: Path) -> None:
    """Saved with its decoder or without; transformers' AutoModel would add a new decoder."""
    config = T5Config(
        vocab_size=len(tiny.tokenizer), d_model=32, d_kv=16, d_ff=48, num_layers=1, num_heads=2
    )
    torch.manual_seed(3)
    whole: Any = T5Model(config)
    with pytest.raises(ValueError, match="got T5Model, with a decoder"):
        RankingModel(whole, tiny.tokenizer)
    whole.save_pretrained(tmp_path)
    tiny.tokenizer.save_pretrained(tmp_path)
    ranker = RankingModel(T5EncoderModel.from_pretrained(tmp_path), tiny.tokenizer)
    ranker.save_pretrained(tmp_path / "ranker")
    again = RankingModel.from_pretrained(tmp_path / "ranker")
    assert type(again.model) is T5EncoderModel
    found, saved = (x.score(PROMPTS, SOLUTIONS) for x in (again, ranker))
    assert_close(found, saved, terms=roundings(ranker.model))


def test_rejects_encoder_decoders_other_than_t5(tmp_path: Path) -> None:
    BartConfig(architectures=["BartModel"]).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="encoder-decoder of type bart; of these only T5"):
        body_auto_class(tmp_path)
