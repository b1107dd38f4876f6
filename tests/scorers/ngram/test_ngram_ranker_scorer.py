import doctest
from pathlib import Path

import pytest
import torch

from reason_decode import SelfConsistency, tiny
from reason_decode.scorers import NGramRanker
from reason_decode.scorers.ngram.ranker import features
from reason_decode.strategies.vote_weighting import resolve_vote_weighting
from tests.tolerance import assert_close


@pytest.fixture
def ranker() -> NGramRanker:
    return NGramRanker(torch.randn(512, generator=torch.Generator().manual_seed(0)))


PROMPTS = ["How many?", "What fraction?", "Why?"]
FEATURES = 512  # the most that a score is a sum of
SOLUTIONS = ["So 2.\nThe answer is 2.", "\\boxed{\\frac{1}{2}}", ""]


@pytest.mark.numeric
def test_a_batch_scores_as_its_members_and_a_session_as_score(ranker: NGramRanker) -> None:
    scores = ranker.score(PROMPTS, SOLUTIONS)
    assert [tuple(x.shape) for x in scores] == [(1,), (1,), (0,)]
    for prompt, solution, score in zip(PROMPTS, SOLUTIONS, scores, strict=True):
        assert_close(ranker.score([prompt], [solution]), [score], terms=FEATURES)
    session = ranker.start_session(PROMPTS[:1])
    session.score([[["So 3."], ["So 2."]]])
    session.select([(0, 1)])
    ((whole,),) = session.score([[["The answer is 2."]]])
    assert_close(whole, scores[0], terms=FEATURES)


@pytest.mark.numeric
def test_scores_the_same_when_loaded(tmp_path: Path, ranker: NGramRanker) -> None:
    with pytest.raises(ValueError, match="save_pretrained it first"):
        ranker.settings()
    ranker.save_pretrained(tmp_path)
    again = NGramRanker.from_pretrained(**ranker.settings())
    torch.testing.assert_close(
        again.score(PROMPTS, SOLUTIONS), ranker.score(PROMPTS, SOLUTIONS), rtol=0, atol=0
    )


def test_rejects_damaged_files_and_bad_weights(tmp_path: Path) -> None:
    (tmp_path / "ngrams.safetensors").write_text("no tensors")
    with pytest.raises(ValueError, match="damaged"):
        NGramRanker.from_pretrained(tmp_path)
    for bad in (torch.zeros(2, 2), torch.zeros(0), torch.tensor([float("nan")])):
        with pytest.raises(ValueError, match="vector of finite numbers"):
            NGramRanker(bad)


def test_words_and_form_have_length_one_each_and_the_answer_is_seen() -> None:
    at, values = features("How many apples?", "One and one.\nThe answer is 2.")
    # One more says that nothing was calculated.
    assert len(at) == len(values) and sum(x * x for x in values) == pytest.approx(3)
    other, _ = features("What fraction of apples?", "One and one.\nThe answer is 2.")
    assert set(at) != set(other)


def test_false_sums_share_features_whatever_their_numbers() -> None:
    right, wrong = (set(features("", f"${x}$")[0]) for x in ("2 + 2 = 4", "2 + 2 = 5"))
    other = set(features("", "$7 + 8 = 16$")[0])
    assert len((wrong - right) & other) >= 2


def test_it_weighs_votes_as_a_ranker_does(ranker: NGramRanker) -> None:
    vote = SelfConsistency(tokenizer=tiny.load().tokenizer, n=2, scorer=ranker)
    assert vote.scorer is ranker and vote.vote_weighting is None
    assert resolve_vote_weighting(vote.vote_weighting, ranker) == "1+s"


def test_the_docstring_example_is_true() -> None:
    (example,) = doctest.DocTestFinder(recurse=False).find(NGramRanker, "NGramRanker", globs={})
    assert example.examples and not doctest.DocTestRunner(verbose=False).run(example).failed
