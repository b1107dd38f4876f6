"""Scores by the logits that the generator sampled from."""

from typing import Any

import pytest
import torch

from reason_decode import BestOfN, ConfidenceScorer, LikelihoodScorer, SelfConsistency, StepSearch
from reason_decode.generation.token_stats import TokenStats, stats_of_steps, token_stats
from reason_decode.scorers.confidence import group_means
from reason_decode.scorers.loading import load_scorer
from reason_decode.tiny import Tiny
from tests.tolerance import assert_close, roundings

PROMPTS = ["Make 24 from 4 5 6 10.\n", "Make 30 from 1 2 3 4.\n"]
MEASURES: list[Any] = [
    "logprob",
    "perplexity",
    "entropy",
    "certainty",
    "mean",
    "group",
    "bottom",
    "tail",
]


def run(tiny: Tiny, strategy: Any, **options: Any) -> Any:
    inputs = tiny.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    torch.manual_seed(0)
    return tiny.model.generate(
        **inputs,
        do_sample=True,
        max_new_tokens=24,
        custom_generate=strategy,
        return_dict_in_generate=True,
        **options,
    )


@pytest.mark.numeric
def test_statistics_are_those_of_the_distribution() -> None:
    torch.manual_seed(0)
    logits, tokens = torch.randn(3, 50), torch.tensor([4, 0, 49])
    logits[1, 7] = -torch.inf
    logps, entropies, confidences, certainties = token_stats(logits, tokens).T
    for row in range(3):
        log_p = logits[row].double().log_softmax(0)
        log_p = log_p[torch.isfinite(log_p)]
        top = log_p.sort(descending=True).values[:20]
        expected = [
            logits[row].double().log_softmax(0)[tokens[row]],
            -(log_p.exp() * log_p).sum(),
            -top.mean(),
            -torch.tensor(float(len(log_p))).double().log() - log_p.mean(),
        ]
        given = [logps[row], entropies[row], confidences[row], certainties[row]]
        assert_close(torch.stack(given), torch.stack(expected).float(), terms=50)


@pytest.mark.numeric
def test_the_likelihood_of_a_generator_is_that_of_the_ids_it_sampled(tiny: Tiny) -> None:
    """Its text, encoded anew, had other ids, a newline more, and no end of sequence."""
    scorer = LikelihoodScorer(tiny.model, tiny.tokenizer, chat=False, per_step=False)
    best = BestOfN(scorer, tokenizer=tiny.tokenizer, n=1)
    out = run(tiny, best)
    assert out.cost.scorer == 0
    inputs = tiny.tokenizer(PROMPTS, return_tensors="pt", padding=True)
    width = inputs["input_ids"].shape[1]
    for row, trace in enumerate(out.traces):
        sampled = out.sequences[row, width : width + trace.best.tokens]
        prompt = inputs["input_ids"][row][inputs["attention_mask"][row].bool()]
        ids = torch.cat([prompt, sampled])[None]
        logps = tiny.model(ids).logits[0].log_softmax(-1)[len(prompt) - 1 : -1]
        likelihood = logps.gather(1, sampled[:, None]).mean().exp()
        assert_close(
            torch.tensor(trace.best.total), likelihood.detach(), terms=roundings(tiny.model)
        )


@pytest.mark.parametrize("measure", MEASURES)
def test_every_measure_chooses_and_votes_without_a_further_pass(tiny: Tiny, measure: Any) -> None:
    scorer = ConfidenceScorer(measure, window=5)
    out = run(tiny, BestOfN(scorer, tokenizer=tiny.tokenizer, n=3))
    assert out.cost.scorer == 0
    for trace in out.traces:
        totals = [c.total for c in trace.candidates]
        assert trace.best.total == max(totals) and len(set(totals)) > 1
    vote = run(tiny, SelfConsistency(tokenizer=tiny.tokenizer, n=3, scorer=scorer))
    assert vote.cost.scorer == 0 and all(c.total is not None for c in vote.traces[0].candidates)


def test_confidence_is_of_the_models_own_logits(tiny: Tiny) -> None:
    best = BestOfN(ConfidenceScorer(), tokenizer=tiny.tokenizer, n=2)
    out = run(tiny, best, temperature=5.0, top_k=3)
    scorer = LikelihoodScorer(tiny.model, tiny.tokenizer, chat=False, per_step=False)
    same = run(tiny, BestOfN(scorer, tokenizer=tiny.tokenizer, n=2), temperature=5.0, top_k=3)
    for trace, other in zip(out.traces, same.traces, strict=True):
        assert trace.best.text == other.best.text
        assert other.best.total == pytest.approx(torch.tensor(trace.best.total).exp().item())


def test_groups_are_means_of_a_window() -> None:
    values = torch.tensor([1.0, 2.0, 6.0, 3.0])
    assert group_means(values, 2).tolist() == [1.5, 4.0, 4.5]
    assert group_means(values, 9).tolist() == [3.0]


def test_a_token_belongs_to_the_step_in_which_it_ends(tiny: Tiny) -> None:
    text = "4 + 6 = 10\n10 * 2 = 20\nAnswer: 20"
    ids = torch.tensor(tiny.tokenizer.encode(text, add_special_tokens=False))
    values = torch.arange(len(ids)).float()
    stats = TokenStats(values, values, values, values)
    steps = text.split("\n")
    parts = stats_of_steps(stats, ids, steps, tiny.tokenizer)
    assert torch.cat([part.logps for part in parts]).tolist() == values.tolist()
    pieces = [str(tiny.tokenizer.decode(ids[part.logps.long()])) for part in parts]
    assert [piece.strip("\n") for piece in pieces] == steps
    assert stats_of_steps(stats, ids, [], tiny.tokenizer) == []


def test_texts_have_no_confidence(tiny: Tiny) -> None:
    with pytest.raises(ValueError, match="LikelihoodScorer"):
        ConfidenceScorer().score(PROMPTS, ["3", "4"])
    with pytest.raises(ValueError, match="without lookahead"):
        run(tiny, StepSearch(ConfidenceScorer(), tokenizer=tiny.tokenizer, n=2, lookahead=1))
    with pytest.raises(ValueError, match="measure='sure'"):
        load_scorer("confidence=sure")
    assert load_scorer("confidence=tail", whole_solutions=True).settings()["measure"] == "tail"
    assert load_scorer("confidence=group:256").settings()["window"] == 256
    with pytest.raises(ValueError, match="got scorer 'confidence=group:few'; need a number of"):
        load_scorer("confidence=group:few")


def test_a_step_search_by_confidence_scores_each_step(tiny: Tiny) -> None:
    search = StepSearch(
        ConfidenceScorer(per_step=True), tokenizer=tiny.tokenizer, n=3, reduce="mean"
    )
    out = run(tiny, search)
    assert out.cost.scorer == 0
    for trace in out.traces:
        assert len(trace.best.scores) == len(trace.best.steps)
