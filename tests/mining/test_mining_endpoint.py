import pytest

from reason_decode.mining import AnnotatedDocument, ChatEndpoint, Document, Dropped, extract
from tests.server import served


def test_a_server_that_stays_down_ends_the_run():
    with served(lambda *_: "drop") as (url, _):
        complete = ChatEndpoint(
            url, "m", attempts=1, max_failures=3, concurrency=1, sleep=lambda _: None
        )
        found = []
        with pytest.raises(ConnectionError, match="3 requests in a row .* give the same command"):
            for result in extract([Document(str(k), "s", "text") for k in range(9)], complete):
                found.append(result)
    assert all(isinstance(x, Dropped) and x.retryable for x in found)


def test_extract_drops_malformed_answers_and_keeps_the_order():
    answers = {"a": "a<BOT>r<EOT>b", "b": "b<BOT>open", "c": "c", "d": "d<EOT>"}
    texts = ["a", "x<BOT>", "b", "c", "d", "<EOT>"]
    documents = [Document(str(k), "s", text) for k, text in enumerate(texts)]
    found = list(extract(documents, lambda asked: (answers[chat[-1]["content"]] for chat in asked)))
    assert isinstance(found[0], AnnotatedDocument) and found[0].document == documents[0]
    assert [x.reason for x in found[1:] if isinstance(x, Dropped)] == [
        "the text already has such tags",
        "malformed tags: 1 never closed, 0 never opened",
        "no rationale in the text",
        "malformed tags: 0 never closed, 1 never opened",
        "the text already has such tags",
    ]
