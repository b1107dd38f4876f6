import pytest

from reason_decode.mining import Document, Dropped, decontaminate, dedup

WORDS = [f"word{k}" for k in range(200)]


def documents(*texts: str) -> list[Document]:
    return [Document(str(k), "s", text) for k, text in enumerate(texts)]


def test_near_duplicates_of_kept_documents_are_dropped():
    first = " ".join(WORDS)
    near = " ".join([*WORDS[:199], "other"])
    half = " ".join([*WORDS[:100], *(f"new{k}" for k in range(100))])
    found = list(dedup(documents(first, half, near, first.upper(), "word1")))
    assert [isinstance(x, Dropped) for x in found] == [False, False, True, True, False]
    assert [x.reason for x in found if isinstance(x, Dropped)] == ["near duplicate: 0 of s"] * 2


def test_deduplication_is_deterministic():
    texts = [" ".join(WORDS[k : k + 60]) for k in range(0, 140, 3)]
    assert list(dedup(documents(*texts))) == list(dedup(documents(*texts)))


def test_evaluation_items_are_found_in_any_punctuation():
    test = " ".join(WORDS[:13])
    found = list(
        decontaminate(
            documents(
                "Before, " + ", ".join(WORDS[:14]), " ".join(WORDS[1:13]), "five words, then no."
            ),
            [test, "Yes.", "five words then no more"],
        )
    )
    assert [isinstance(x, Dropped) for x in found] == [True, False, False]


@pytest.mark.parametrize("settings", [{"threshold": 0}, {"ngram": 0}, {"permutations": 1}])
def test_rejects_invalid_arguments(settings):
    with pytest.raises(ValueError, match="need a share above 0"):
        dedup([], **settings)
    with pytest.raises(ValueError, match="at least 1 word"):
        decontaminate([], [], ngram=0)
