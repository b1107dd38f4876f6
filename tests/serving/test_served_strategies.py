"""Strategies over a server decide as they do over the same model in this process."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from reason_decode import (
    BestOfN,
    ParticleFilter,
    RationaleGuided,
    ReasoningOutput,
    SelfConsistency,
    StepSearch,
    StepSplitter,
)
from reason_decode.core.solutions import Cost
from reason_decode.serving import ServedModel
from reason_decode.tiny import Tiny
from tests.completion_server import Continue, Served, completions, greedily
from tests.fakes import TableScorer

PROMPTS = ["Make 24 from 4 5 6 10.\n", "Make 36 from 4 5 6 10.\n"]
LONG = TableScorer(lambda step: 1 / (1 + len(step)))


def decoded(model: Any, strategy: Any, prompts: list[str], **options: Any) -> ReasoningOutput:
    inputs = strategy.tokenizer(prompts, return_tensors="pt", padding=True)
    arguments = {"max_new_tokens": 40, "do_sample": False, **options}
    out = model.generate(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        custom_generate=strategy,
        return_dict_in_generate=True,
        **arguments,
    )
    assert isinstance(out, ReasoningOutput)
    return out


@pytest.fixture(scope="module", params=["vllm", "me", "llamacpp"])
def server(request: pytest.FixtureRequest, tiny: Tiny) -> Iterator[tuple[Served, Any]]:
    with completions(greedily(tiny.model), tiny.tokenizer, request.param) as made:
        yield made, {"me": "transformers"}.get(request.param, "auto")


def strategies(tiny: Tiny) -> dict[str, Any]:
    own: dict[str, Any] = {"tokenizer": tiny.tokenizer, "n": 1}
    parted = TableScorer(lambda step: 0.5)
    parted.splitter = StepSplitter(tokens=7)
    matched = TableScorer(lambda step: 0.5)
    matched.splitter = StepSplitter(pattern=r"\n+|= ")
    return {
        "best of n": BestOfN(LONG, **own),
        "vote": SelfConsistency(**own, early_stop="decided"),
        "step search": StepSearch(LONG, **own),
        "steps of tokens": StepSearch(parted, **own),
        "steps of a pattern": StepSearch(matched, **own),
        "lookahead": StepSearch(LONG, **own, lookahead=2),
        "particles": ParticleFilter(LONG, **own),
        "rationales": RationaleGuided(tiny.rationalyst, **own, max_steps=2),
        "explicit": RationaleGuided(tiny.rationalyst, **own, supervision="explicit", max_steps=2),
    }


NAMES = (
    *("best of n", "vote", "step search", "steps of tokens", "steps of a pattern", "lookahead"),
    "particles",
)


@pytest.mark.parametrize("name", NAMES)
def test_a_server_gives_the_traces_of_the_model_in_this_process(
    server: tuple[Served, Any], tiny: Tiny, name: str
):
    made, kind = server
    check_traces(made, kind, tiny, name, PROMPTS)


@pytest.mark.parametrize("name", ["rationales", "explicit"])
def test_rationales_guide_a_server_as_they_guide_a_model(tiny: Tiny, name: str):
    with completions(greedily(tiny.model), tiny.tokenizer) as made:
        check_traces(made, "auto", tiny, name, PROMPTS[:1])


def check_traces(made: Served, kind: Any, tiny: Tiny, name: str, prompts: list[str]) -> None:
    strategy = strategies(tiny)[name]
    there: Any = ServedModel(made.url, "m", tiny.tokenizer, server=kind)
    made.bodies.clear()
    ours, theirs = (decoded(model, strategy, prompts) for model in (tiny.model, there))
    assert theirs.traces == ours.traces
    assert theirs.sequences.tolist() == ours.sequences.tolist()
    assert ours.cost is not None and theirs.cost is not None
    assert theirs.cost.sampled >= ours.cost.sampled > 0
    assert theirs.cost.scorer == ours.cost.scorer
    if there.server.keeps_stops and name != "steps of a pattern":
        assert theirs.cost.sampled == ours.cost.sampled
    assert all(body["model"] == "m" and "seed" not in body for body in made.bodies)


def test_plain_decoding_equals_generate(server: tuple[Served, Any], tiny: Tiny):
    made, kind = server
    there: Any = ServedModel(made.url, "m", tiny.tokenizer, server=kind)
    inputs = tiny.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    ids, mask = inputs["input_ids"], inputs["attention_mask"]
    ours = tiny.model.generate(ids, attention_mask=mask, max_new_tokens=40, do_sample=False)
    theirs = there.generate(ids, mask, max_new_tokens=40)
    assert theirs.tolist() == ours.tolist()


def text(tiny: Tiny, body: dict[str, Any]) -> str:
    """The prompt of a request."""
    return str(tiny.tokenizer.decode(body["prompt"], skip_special_tokens=True))


def sums(tokenizer: Any) -> Continue:
    """Continues to four steps such as ``12 = 3``, which differ by seed and choice."""

    def go_on(body: dict[str, Any], ids: list[int], index: int) -> list[int]:
        done = tokenizer.decode(ids).count(" = ")
        first = body.get("seed", 0) + 7 * index
        lines = [f"{(first + k) % 97} = {k}\n" for k in range(done, 4)]
        return [*tokenizer("".join(lines))["input_ids"], tokenizer.eos_token_id]

    return go_on


@pytest.fixture
def summing(tiny: Tiny, request: pytest.FixtureRequest) -> Iterator[Served]:
    owner = getattr(request, "param", "vllm")
    with completions(sums(tiny.tokenizer), tiny.tokenizer, owner) as made:
        yield made


def test_a_search_asks_for_n_steps_in_one_request_and_never_repeats_what_is_decided(
    summing: Served, tiny: Tiny
):
    scorer = TableScorer(lambda step: float(step.split()[0]) / 97)
    search = StepSearch(scorer, tokenizer=tiny.tokenizer, n=4)
    model = ServedModel(summing.url, "m", tiny.tokenizer)
    torch.manual_seed(0)
    out = decoded(model, search, PROMPTS[:1], do_sample=True, temperature=0.7)
    assert out.traces is not None and out.cost is not None
    (trace,) = out.traces
    assert [len(x) for x in trace.rounds[:4]] == [4] * 4 and len(trace.best.steps) == 4
    assert all(body.get("n") == 4 and body["temperature"] == 0.7 for body in summing.bodies)
    prompts = [text(tiny, body) for body in summing.bodies]
    # A request holds what was kept, once, and nothing else.
    for k, prompt in enumerate(prompts):
        assert prompt == PROMPTS[0] + "".join(f"{step}\n" for step in trace.best.steps[:k])
    assert out.cost.sampled == summing.sampled
    assert len({body["seed"] for body in summing.bodies}) == len(summing.bodies)
    torch.manual_seed(0)
    assert decoded(model, search, PROMPTS[:1], do_sample=True, temperature=0.7).traces == out.traces


@pytest.mark.parametrize("summing", ["vllm", "openai"], indirect=True)
def test_a_beam_with_subtrees_and_particles_run_over_a_server(summing: Served, tiny: Tiny):
    scorer = TableScorer(lambda step: float(step.split()[0]) / 97)
    model = ServedModel(summing.url, "m", tiny.tokenizer, concurrency=2)
    own: dict[str, Any] = {"tokenizer": tiny.tokenizer}
    beam = StepSearch(scorer, **own, n=2, beam_width=4, subtrees=2, lookahead=1)
    for strategy in (beam, ParticleFilter(scorer, **own, n=4), BestOfN(scorer, **own, n=4)):
        out = decoded(model, strategy, PROMPTS, do_sample=True)
        assert out.traces is not None
        for trace in out.traces:
            assert trace.best.finished and len(trace.best.steps) == 4
            assert len(trace.candidates) == 4


def test_a_decided_vote_asks_for_no_more(summing: Served, tiny: Tiny):
    vote = SelfConsistency(
        tokenizer=tiny.tokenizer, n=16, early_stop="decided", extract_answer=lambda text: "3"
    )
    out = decoded(ServedModel(summing.url, "m", tiny.tokenizer), vote, PROMPTS[:1], do_sample=True)
    assert out.traces is not None and len(out.traces[0].candidates) == 10
    assert sum(body.get("n", 1) for body in summing.bodies) == 10


def test_a_limit_of_tokens_holds_at_a_server(summing: Served, tiny: Tiny):
    best = BestOfN(LONG, tokenizer=tiny.tokenizer, n=8, max_tokens=60)
    model = ServedModel(summing.url, "m", tiny.tokenizer)
    out = decoded(model, best, PROMPTS[:1], do_sample=True)
    assert out.cost is not None and 0 < out.cost.sampled <= 60
    assert max(body["max_tokens"] for body in summing.bodies) <= 60


def test_confidence_is_read_from_log_probabilities(summing: Served, tiny: Tiny):
    from reason_decode import ConfidenceScorer

    model = ServedModel(summing.url, "m", tiny.tokenizer)
    best = BestOfN(ConfidenceScorer(), tokenizer=tiny.tokenizer, n=3)
    out = decoded(model, best, PROMPTS[:1], do_sample=True)
    assert out.traces is not None
    assert [x.total for x in out.traces[0].candidates] == [-0.5, -1.5, -2.5]
    assert summing.bodies[0]["logprobs"] == 20
    entropy = BestOfN(ConfidenceScorer("entropy"), tokenizer=tiny.tokenizer, n=2)
    with pytest.raises(ValueError, match="reads the whole distribution"):
        decoded(model, entropy, PROMPTS[:1], do_sample=True)
    plain = ServedModel(summing.url, "m", tiny.tokenizer, server="openai")
    with pytest.raises(ValueError, match="reads the generator's logits"):
        decoded(plain, best, PROMPTS[:1], do_sample=True)


def test_several_servers_share_the_prompts(summing: Served, tiny: Tiny):
    with completions(sums(tiny.tokenizer), tiny.tokenizer) as second:
        model = ServedModel([summing.url, second.url], "m", tiny.tokenizer)
        out = decoded(model, BestOfN(LONG, tokenizer=tiny.tokenizer, n=2), PROMPTS, do_sample=True)
        first, other = ({text(tiny, x) for x in y.bodies} for y in (summing, second))
    assert (first, other) == ({PROMPTS[0]}, {PROMPTS[1]})
    assert out.traces is not None and all(len(x.candidates) == 2 for x in out.traces)


def test_a_stop_string_ends_an_answer(server: tuple[Served, Any], tiny: Tiny):
    made, kind = server
    there: Any = ServedModel(made.url, "m", tiny.tokenizer, server=kind)
    best = BestOfN(LONG, tokenizer=tiny.tokenizer, n=1)
    ours, theirs = (
        decoded(model, best, PROMPTS[:1], stop_strings=["="]) for model in (tiny.model, there)
    )
    assert ours.traces is not None and theirs.traces is not None
    mine, yours = ours.traces[0].best, theirs.traces[0].best
    assert yours.finished and mine.finished and mine.text.endswith("=")
    if there.server.keeps_stops:
        assert yours == mine
    else:  # it cuts the stop string off
        assert yours.text == mine.text.removesuffix("=")


def test_costs_add_up(summing: Served, tiny: Tiny):
    best = BestOfN(LONG, tokenizer=tiny.tokenizer, n=4)
    model = ServedModel(summing.url, "m", tiny.tokenizer)
    cost = decoded(model, best, PROMPTS[:1], do_sample=True).cost
    prompt = len(tiny.tokenizer(PROMPTS[0])["input_ids"])
    assert cost is not None and cost.scorer == 0
    assert cost == Cost(prompt, summing.sampled - 4, summing.sampled)
