"""Scorers on models whose caches cannot be cropped to an earlier token."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from transformers import AutoModelForTokenClassification

from reason_decode import LikelihoodScorer, RationaleScorer, StepSearch
from reason_decode.scorers.base import Scorer
from reason_decode.scorers.prm_formats import TokenClassification
from reason_decode.scorers.rationale_writer import RationaleWriter
from reason_decode.testing import check_scorer
from reason_decode.tiny import Tiny
from tests.architectures import random_model

PROMPTS = ("2 + 3 =\n", "2 + 3 =\n", "7 - 5 =\n")
SOLUTIONS = (("2 + 3 = 5", "So 5."), ("2 + 3 = 6",), ("7 - 5 = 2", "So 2."))
READS_AGAIN = "reads each text from its beginning"

pytestmark = pytest.mark.filterwarnings(f"ignore:.*{READS_AGAIN}")


def _scorer(name: str, tiny: Tiny) -> Scorer:
    kind, words = name.partition(" ")[0], tiny.tokenizer
    model: Any = random_model(kind, len(words))
    if name.endswith("likelihood"):
        return LikelihoodScorer(model, words, chat=False)
    if name.endswith("rationales"):
        writer = RationaleWriter(model, words, chat=False, max_new_tokens=3)
        return RationaleScorer(writer, chat=False)
    config = type(model.config).from_dict({**model.config.to_dict(), "num_labels": 2})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        prm: Any = AutoModelForTokenClassification.from_config(config)
    return TokenClassification(prm, words)


@pytest.mark.numeric
@pytest.mark.parametrize(
    "name",
    ["mamba likelihood", "qwen3_5_text likelihood", "qwen3_next process", "mamba rationales"],
)
def test_scorers_on_recurrent_models_keep_the_laws(tiny: Tiny, name: str) -> None:
    """They were refused: ``branches the key-value cache``."""
    check_scorer(_scorer(name, tiny), PROMPTS, SOLUTIONS)


def test_reading_again_is_said_and_counted(tiny: Tiny) -> None:
    scorer = _scorer("lfm2 likelihood", tiny)
    with pytest.warns(UserWarning, match=READS_AGAIN):
        session = scorer.start_session(PROMPTS[:1])
    words, text = tiny.tokenizer, PROMPTS[0]
    read = 0
    for step in SOLUTIONS[0]:
        session.score([[[step]]])
        session.select([(0, 0)])
        text += step + "\n"
        read += len(words(text)["input_ids"])
    assert session.tokens_read == read


def test_a_search_by_a_recurrent_model_of_its_own_steps(tiny: Tiny) -> None:
    model: Any = random_model("bamba", len(tiny.tokenizer))
    newline = tiny.tokenizer.convert_tokens_to_ids("Ċ")
    # A copy: the generator's own likelihood is read from its logits.
    scorer = LikelihoodScorer(deepcopy(model), tiny.tokenizer, chat=False)
    search = StepSearch(scorer, tokenizer=tiny.tokenizer, n=2)
    torch.manual_seed(0)
    out = model.generate(
        **tiny.tokenizer([PROMPTS[0]], return_tensors="pt"),
        max_new_tokens=8,
        do_sample=True,
        pad_token_id=0,
        sequence_bias=[[[newline], 6.0]],
        return_dict_in_generate=True,
        custom_generate=search,
    )
    best = out.traces[0].best
    assert len(best.steps) == len(best.scores) > 0 and out.cost.scorer > 0
