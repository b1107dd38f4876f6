"""Chat templates that refuse, drop or change turns, and incomplete tokenizers.

Tested elsewhere: a tokenizer larger than a process reward model, a tokenizer
without the tag of a format (test_process.py, test_formats.py), a slow one (test_likelihood.py), a
writer without a template (test_extract.py), one without padding in commands (test_cli_load.py).
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from typing import Any

import pytest
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from reason_decode import (
    BestOfN,
    LikelihoodScorer,
    OutcomeRewardModel,
    SelfConsistency,
)
from reason_decode.core import chat_rendering
from reason_decode.core.chat_rendering import time_limit
from reason_decode.evaluation.complete import complete
from reason_decode.scorers import RationaleWriter, TokenClassification
from reason_decode.scorers.prm_formats import Generative
from reason_decode.tiny import WEIGHTS, Tiny
from tests.tolerance import assert_close, roundings

PROMPT, SOLUTION = "1 + 2 =\n", "1 + 2 = 3\n3"
EVERY = "{% for m in messages %}{{ m.content | trim }}\n{% endfor %}"
USER_ONLY = "{% for m in messages if m.role == 'user' %}{{ m.content }}{% endfor %}"


def words(template: str | None = EVERY, **tokens: str | None) -> Any:
    """The tiny tokenizer with another template, or without some special tokens."""
    tokenizer = AutoTokenizer.from_pretrained(WEIGHTS / "base")
    tokenizer.chat_template = template
    for name, token in tokens.items():
        setattr(tokenizer, name, token)
    return tokenizer


@pytest.fixture(scope="module")
def outcome() -> Any:
    return AutoModelForSequenceClassification.from_pretrained(WEIGHTS / "base", num_labels=1)


def likely(t: Tiny, orm: Any, template: str | None) -> Any:
    return LikelihoodScorer(t.model, words(template), chat=True).score([PROMPT], [SOLUTION])


def judged(t: Tiny, orm: Any, template: str | None) -> Any:
    return OutcomeRewardModel(orm, words(template), chat=True).score([PROMPT], [SOLUTION])


def asked(t: Tiny, orm: Any, template: str | None) -> Any:
    prm = Generative(t.model, words(template))
    return prm.score([PROMPT], [SOLUTION])


def written(t: Tiny, orm: Any, template: str | None) -> Any:
    return RationaleWriter(t.model, words(template), chat=True).encode(PROMPT, [])


Scored = Callable[[Tiny, Any, str | None], Any]
TEMPLATES: dict[str, tuple[Scored, str | None, str]] = {
    "refuses": (likely, "{{ raise_exception('no user here') }}", r"refuses the turns user \(no us"),
    "refuses an answer": (
        judged,
        "{% if messages[1:] %}{{ raise_exception('one') }}{% endif %}" + EVERY,
        "refuses the turns user, assistant",
    ),
    "cannot be parsed": (likely, "{% for %}", "refuses the turns user .*or use plain text"),
    "asks for what is not there": (judged, "{{ foo.bar }}", "'foo' is undefined"),
    "reaches for Python": (likely, "{{ ''.__class__.__mro__ }}", "access to attribute .*unsafe"),
    "says the same of everything": (likely, "hello", "drops or changes the user's turn '1 . 2"),
    "says nothing": (likely, "", "drops or changes the user's turn"),
    "drops the answer": (judged, USER_ONLY, "drops or changes the assistant's turn '1 . 2 = 3"),
    "changes the prompt": (
        written,
        "{% for m in messages %}{{ m.content | replace('1', 'one') }}{% endfor %}",
        "drops or changes the user's turn",
    ),
    "rewrites earlier turns": (asked, "{{ messages | length }}" + EVERY, "rewrites earlier turns"),
    # Regression: these were tracebacks of OverflowError, ZeroDivisionError and the like, or hung.
    "divides by zero": (likely, "{{ 1 // 0 }}" + EVERY, "cannot be used .ZeroDivisionError"),
    "multiplies a text": (
        likely,
        "{% set n = 10 ** 30 %}{{ 'a' * n }}" + EVERY,
        "template of .* cannot be used .OverflowError: .*repair tokenizer.chat_template",
    ),
    "writes 20 million letters": (
        judged,
        "{% set n = 20000000 %}{{ 'a' * n }}" + EVERY,
        "cannot be used .MemoryError: it writes 200000.. characters of",
    ),
    "loops": (
        likely,
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}" + EVERY,
        "cannot be used .TimeoutError: it did not end within 0.2 seconds",
    ),
    "is not there, of an outcome": (judged, None, "got chat=True for a tokenizer without a chat"),
    "is not there, of a writer": (written, None, "pass chat=False, or set tokenizer.chat_template"),
    "is not there, of a verifier": (asked, None, "has no chat template to render it"),
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_templates_that_lose_or_change_turns_are_rejected(
    tiny: Tiny, outcome: Any, case: str, monkeypatch: pytest.MonkeyPatch
):
    # Regression: with a template that dropped the answer, nothing or the prompt alone was scored; a
    # template that failed was a traceback of jinja.
    monkeypatch.setattr(chat_rendering, "MAX_SECONDS", 0.2 if case == "loops" else 10.0)
    score, template, message = TEMPLATES[case]
    with pytest.raises(ValueError, match=message):
        score(tiny, outcome, template)


def test_a_template_may_remove_the_thinking_before_an_answer(tiny: Tiny, outcome: Any):
    thoughts = "{% for m in messages %}{{ m.content.split('</think>')[-1] }}\n{% endfor %}"
    orm = OutcomeRewardModel(outcome, words(thoughts))
    kept, dropped = orm.score([PROMPT] * 2, ["3", ["<think>1 + 2\n</think>3"]])
    assert_close(kept, dropped, terms=roundings(outcome))


@pytest.mark.filterwarnings("ignore:got P.Yes. . P.No.")
def test_a_template_may_trim_the_prompt(tiny: Tiny):
    # Regression: with a template that trims (Llama 3), a prompt that ends with a newline failed
    # with "substring not found".
    prm = Generative(
        tiny.model, words("{% for m in messages %}{{ m.content | trim }}|{% endfor %}")
    )
    plain, trimmed = prm.score([PROMPT.strip(), PROMPT], [["3"]] * 2)
    assert plain.shape == trimmed.shape == (1,)


@pytest.mark.parametrize("as_vote", [False, True], ids=["best of n", "vote"])
def test_prompts_that_a_scorer_cannot_read_are_rejected_before_sampling(tiny: Tiny, as_vote: bool):
    # Regression: the scorer was first called after sampling, and all samples were lost.
    # A copy: the generator's own likelihood is read from its logits, with its own prompt.
    judge = deepcopy(tiny.model)
    scorer = LikelihoodScorer(judge, words("{{ raise_exception('no') }}"), chat=True)
    own = tiny.tokenizer
    strategy: Any = (
        SelfConsistency(tokenizer=own, n=2, scorer=scorer)
        if as_vote
        else BestOfN(scorer, tokenizer=own, n=2)
    )
    read: list[int] = []
    hook = tiny.model.register_forward_hook(lambda *_: read.append(1))
    with pytest.raises(ValueError, match="chat template refuses"):
        tiny.model.generate(
            **own([PROMPT], return_tensors="pt"),
            do_sample=True,
            max_new_tokens=4,
            custom_generate=strategy,
        )
    hook.remove()
    assert not read


def test_a_prompt_without_tokens_is_rejected(tiny: Tiny):
    prm = TokenClassification(tiny.prm.model, words(None, bos_token=None))
    with pytest.raises(ValueError, match="got the prompt '', which has no tokens; pass some text"):
        prm.score([""], ["3"])


def test_prompts_without_a_padding_token_are_completed_like_one_by_one(tiny: Tiny):
    # Regression: a batch was refused for a tokenizer that names no padding token, though padding is
    # masked and may be any token.
    bare = words(eos_token=None, pad_token=None)
    how: dict[str, Any] = {"max_new_tokens": 2, "temperature": 0.0}
    together = complete(tiny.model, bare, None, ["1", "1 + 2"], **how).texts
    alone = [complete(tiny.model, bare, None, [x], **how).texts[0] for x in ("1", "1 + 2")]
    assert together == alone


def test_a_tokenizer_with_more_tokens_than_the_model_is_rejected(tiny: Tiny):
    more = words(None)
    more.add_tokens([f"<new{k}>" for k in range(9)])
    with pytest.raises(ValueError, match="has 336 tokens, the model only 327"):
        LikelihoodScorer(tiny.model, more)


@pytest.mark.parametrize("tokenizer", [None, "gpt2", [1, 2]], ids=["none", "a name", "a list"])
def test_scorers_reject_what_is_no_tokenizer(tiny: Tiny, tokenizer: Any):
    # Regression: "object of type 'NoneType' has no len()".
    with pytest.raises(ValueError, match="as the tokenizer; pass a loaded one"):
        TokenClassification(tiny.prm.model, tokenizer)


def test_a_time_limit_holds_in_threads_and_leaves_nothing_behind():
    def ends(_: int) -> str:
        with pytest.raises(TimeoutError, match="within 0.05 seconds"), time_limit(0.05):
            while True:
                pass
        with time_limit(5):
            return "done"

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(ends, range(4))) == ["done"] * 4
