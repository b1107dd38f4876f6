"""Verifiers that write a critique before their verdict, with critiques that a test wrote."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from published_prms import PROMPTS, SIZES, ids_of, new_tokenizer
from torch import Tensor
from transformers import LlamaForCausalLM
from transformers.models.llama import LlamaConfig

from reason_decode import BestOfN, ProcessRewardModel
from reason_decode.scorers.prm_formats import GenPRM, ThinkPRM
from reason_decode.scorers.prm_formats.reasoning import ReasoningVerifier
from tests.tolerance import assert_close, roundings

STEPS = ["First 3 * 4 = 12.", "Then 2 + 12 = 15."]


def _made(kind: type[ReasoningVerifier], **options: Any) -> Any:
    tokenizer = new_tokenizer("Yes", "No", "correct", "incorrect")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer) + 8, **SIZES))
    return kind(model, tokenizer, max_new_tokens=8, **options)


def _script(
    verifier: Any, critique: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> list[str]:
    """Let ``critique(request)`` be what is written; returns the requests, as they come."""
    requests: list[str] = []

    def write(rows: Sequence[Sequence[int]]) -> list[list[int]]:
        texts = [str(verifier.tokenizer.decode(list(row))) for row in rows]
        requests.extend(texts)
        return [ids_of(verifier.tokenizer, critique(text)) for text in texts]

    monkeypatch.setattr(verifier, "_write", write)
    return requests


def _plain(verifier: Any, before: str, verdicts: Sequence[str]) -> Tensor:
    """P(first verdict) of the two after a text, from all logits."""
    ids = torch.tensor([ids_of(verifier.tokenizer, before)])
    tokens = [ids_of(verifier.tokenizer, verdict)[0] for verdict in verdicts]
    with torch.no_grad():
        return verifier.model(ids).logits[0, -1, tokens].softmax(-1)[0]


@pytest.mark.numeric
def test_genprm_reads_the_last_verdict_after_its_own_critiques(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    verifier = _made(GenPRM, temperature=0.0)
    critique = "maybe \\boxed{No}, no: \\boxed{Yes}"
    requests = _script(verifier, lambda text: critique, monkeypatch)
    (found,) = verifier.score(PROMPTS[:1], [STEPS])
    begin = "<analyze>\nLet's analyze the Paragraph {} step by step: "
    turns = [
        ("system", verifier.system),
        ("user", f"Question: {PROMPTS[0]}\n\n{STEPS[0]}"),
        ("assistant", begin.format(1) + critique),
        ("user", STEPS[1]),
    ]
    tokenizer = verifier.tokenizer
    for k in (1, 2):
        messages = [{"role": r, "content": c} for r, c in turns[: 2 * k]]
        text = str(
            tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        )
        assert requests[k - 1] == text + begin.format(k)
        before = requests[k - 1] + critique.removesuffix("Yes}")
        plain = _plain(verifier, before, ("Yes", "No"))
        assert_close(found[k - 1], plain, terms=roundings(verifier.model))


def test_a_session_writes_critiques_of_new_steps_only(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = _made(GenPRM, temperature=0.0, n=2)
    requests = _script(verifier, lambda text: "so \\boxed{Yes}", monkeypatch)
    session = verifier.start_session(PROMPTS[:1])
    first = session.score([[STEPS[:1], ["Wrong."]]])
    session.select([(0, 0)])
    second = session.score([[STEPS[1:]]])
    assert len(requests) == 2 * 3 and requests[-1].count("so \\boxed{Yes}") == 1
    (whole,) = verifier.score(PROMPTS[:1], [STEPS])
    assert torch.equal(torch.cat([first[0][0], second[0][0]]), whole)


@pytest.mark.numeric
def test_thinkprm_ends_at_the_first_wrong_step(monkeypatch: pytest.MonkeyPatch) -> None:
    verifier = _made(ThinkPRM, temperature=0.0)
    critique = " Step 1: \\boxed{correct} Step 2: \\boxed{incorrect}"
    requests = _script(verifier, lambda text: critique, monkeypatch)
    (found,) = verifier.score(PROMPTS[:1], [[*STEPS, "So 15."]])
    asked = requests[0]
    assert f"[Math Problem]\n\n{PROMPTS[0]}\n\n[Solution]\n\nStep 1: {STEPS[0]}\nStep 2:" in asked
    assert asked.endswith("<s>assistant\n\n\nLet's verify step by step:")
    ends = (critique.index("correct}"), critique.index("incorrect}"))
    plain = [_plain(verifier, asked + critique[:end], ("correct", "incorrect")) for end in ends]
    first, second = (float(x) for x in plain)
    expected = [first, first if first < 0.5 else second]
    expected.append(expected[1] if expected[1] < 0.5 else 0.5)
    assert_close(found, torch.tensor(expected), terms=roundings(verifier.model))


@pytest.mark.parametrize("kind", [GenPRM, ThinkPRM])
def test_a_critique_without_a_verdict_is_undecided(kind: type[ReasoningVerifier]) -> None:
    """A random model writes none; it serves a strategy all the same."""
    verifier = _made(kind)
    found = verifier.score(PROMPTS * 2, [STEPS, STEPS[:1], [], STEPS])
    assert [x.tolist() for x in found] == [[0.5, 0.5], [0.5], [], [0.5, 0.5]]
    strategy = BestOfN(verifier, tokenizer=verifier.tokenizer, n=2)
    inputs = verifier.tokenizer(PROMPTS[:1], return_tensors="pt")
    verifier.model.generate(
        **inputs, max_new_tokens=4, do_sample=True, pad_token_id=0, custom_generate=strategy
    )


def test_loads_by_its_published_name_with_its_options(tmp_path: Path) -> None:
    made = _made(GenPRM)
    folder = tmp_path / "GenPRM-1.5B"
    made.model.save_pretrained(folder)
    made.tokenizer.save_pretrained(folder)
    loaded = ProcessRewardModel.from_pretrained(folder, n=3, temperature=0.0)
    assert type(loaded) is GenPRM and loaded.n == 3
    again = ProcessRewardModel.from_pretrained(**loaded.settings())
    assert again.settings() == loaded.settings()


def test_rejects_numbers_out_of_range_and_tokenizers_without_a_template() -> None:
    with pytest.raises(ValueError, match="need at least 1, 1 and 0"):
        _made(GenPRM, n=0)
    made = _made(GenPRM)
    made.tokenizer.chat_template = None
    with pytest.raises(ValueError, match="without a chat template for ThinkPRM"):
        ThinkPRM(made.model, made.tokenizer)
