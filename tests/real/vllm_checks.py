"""Checks of ``VLLMModel`` and ``RequestProcessors``, run by the Python of an environment with vLLM.

``test_real_vllm_in_process`` starts it; an assertion that fails ends it with another status.
"""

import os

os.environ |= {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    # In one process, so that this module can be imported where vLLM makes its processors.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}

from collections.abc import Sequence
from typing import Any

from vllm import LLM, SamplingParams  # pyright: ignore[reportMissingImports]

from reason_decode import (
    BestOfN,
    ConfidenceScorer,
    NegativeContrastLogitsProcessor,
    ParticleFilter,
    SelfConsistency,
    StepSearch,
    StepSplitter,
    StructuredStepsLogitsProcessor,
    tiny,
)
from reason_decode.serving import VLLMModel
from reason_decode.serving.vllm_processors import RequestProcessors

TINY = tiny.load()
PROMPTS = ["Make 24 from 4 5 6 10.\n", "Make 36 from 4 5 6 10.\n"]


class Steps(RequestProcessors):
    """Steps of one shape, for requests that ask for them."""

    def processors(self, params: Any) -> Sequence[Any]:
        """The shape."""
        if not (params.extra_args or {}).get("steps"):
            return []
        step, answer = r"So [0-9]+\n", r"Answer: [0-9]{2}"
        return [StructuredStepsLogitsProcessor(TINY.tokenizer, step=step, answer=answer)]


class Contrast(RequestProcessors):
    """Contrast with the rationale model, for requests that ask for it."""

    def processors(self, params: Any) -> Sequence[Any]:
        """The contrast."""
        if not (params.extra_args or {}).get("contrast"):
            return []
        return [NegativeContrastLogitsProcessor(TINY.rationalyst.model, weight=0.5)]


def decoded(model: Any, strategy: Any, **options: Any) -> Any:
    """The output of a strategy."""
    inputs = TINY.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    return model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        custom_generate=strategy,
        return_dict_in_generate=True,
        **{"max_new_tokens": 80, "do_sample": False, **options},
    )


def check_strategies(model: Any) -> None:
    """Greedy decoding with one candidate has the texts of transformers, and counts alike."""
    own: dict[str, Any] = {"tokenizer": TINY.tokenizer, "n": 1}
    for strategy in (
        BestOfN(TINY.prm, **own),
        SelfConsistency(**own),
        StepSearch(TINY.prm, **own),
        StepSearch(TINY.prm, **own, lookahead=2),
        ParticleFilter(TINY.prm, **own),
        BestOfN(ConfidenceScorer(), **own),
    ):
        ours, theirs = (decoded(x, strategy) for x in (TINY.model, model))
        pairs = zip(ours.traces, theirs.traces, strict=True)
        assert all(a.best.text == b.best.text for a, b in pairs), strategy
        assert ours.cost.sampled == theirs.cost.sampled, strategy
    assert abs(ours.traces[0].best.total - theirs.traces[0].best.total) < 1e-3
    search = StepSearch(TINY.prm, tokenizer=TINY.tokenizer, n=4, beam_width=2)
    drawn = decoded(model, search, do_sample=True, temperature=1.0)
    assert all(trace.best.finished for trace in drawn.traces)
    assert len({step.text for step in drawn.traces[0].rounds[0]}) > 1


def check_pattern(model: Any) -> None:
    """Steps that no stop string ends are looked for piece by piece."""
    TINY.prm.splitter, before = StepSplitter(pattern=r"\n+|= "), TINY.prm.splitter
    search = StepSearch(TINY.prm, tokenizer=TINY.tokenizer, n=1)
    ours, theirs = (decoded(x, search, max_new_tokens=60) for x in (TINY.model, model))
    TINY.prm.splitter = before
    pairs = zip(ours.traces, theirs.traces, strict=True)
    assert all(a.best.text == b.best.text for a, b in pairs)


def check_processors(llm: Any) -> None:
    """Rows with processors and rows without, in one batch; the contrast is that of generate."""
    ids = [TINY.tokenizer(prompt)["input_ids"] for prompt in PROMPTS]
    asked: list[dict[str, Any] | None] = [{"steps": 1}, None, {"contrast": 1}]
    params = [SamplingParams(temperature=0, max_tokens=40, extra_args=x) for x in asked]
    prompts = [{"prompt_token_ids": ids[0]}] * len(params)
    shaped, plain, contrasted = (
        x.outputs[0] for x in llm.generate(prompts, params, use_tqdm=False)
    )
    inputs = TINY.tokenizer(PROMPTS[:1], return_tensors="pt")
    options = {"max_new_tokens": 40, "do_sample": False}
    start = inputs["input_ids"].shape[1]
    greedy = TINY.model.generate(**inputs, **options)[0, start:].tolist()
    negative = NegativeContrastLogitsProcessor(TINY.rationalyst.model, weight=0.5)
    here = TINY.model.generate(**inputs, **options, logits_processor=[negative])[0, start:].tolist()
    assert shaped.text.startswith(("So ", "Answer: ")), shaped.text
    assert list(plain.token_ids) == greedy
    assert list(contrasted.token_ids) == here != greedy


def main() -> None:
    """All checks."""
    llm = LLM(
        model=str(tiny.WEIGHTS / "base"),
        dtype="float32",
        max_model_len=512,
        enforce_eager=True,
        enable_prefix_caching=True,
        logits_processors=[Steps, Contrast],
    )
    model = VLLMModel(llm, TINY.tokenizer, seeds=False)
    check_strategies(model)
    check_pattern(model)
    check_processors(llm)
    print("all checks passed")


if __name__ == "__main__":
    main()
