import random
from functools import partial

import pytest

from reason_decode.mining import (
    AnnotatedDocument,
    Document,
    Dropped,
    extract,
    faithful,
    find_leak,
    parse_annotated,
    run_stages,
)


def gate(text: str, written: str, answer: str | None = None) -> AnnotatedDocument | Dropped:
    document = Document("1", "s", text, answer=answer)
    write = partial(extract, complete=lambda chats: (written for _ in chats))
    (found,) = run_stages([document], [write, faithful])
    return found


def test_rationales_move_to_the_same_places_in_the_original_document():
    text = "I has a dog. It is brown and it bark loud at night. So we moved it."
    written = "I have a dog. <BOT>why<EOT>It is brown and it barks loud at night. "
    written += "<BOT>so<EOT>So we moved it."
    found = gate(text, written)
    assert isinstance(found, AnnotatedDocument)
    assert found.texts == (
        "I has a dog. ",
        "It is brown and it bark loud at night. ",
        "So we moved it.",
    )
    assert found.rationales == ("why", "so")


def test_the_text_of_the_document_is_never_changed():
    generator = random.Random(0)
    for _ in range(200):
        text = "".join(generator.choices("ab c.\n", k=80))
        written = list(text)
        for _ in range(generator.randrange(7)):
            place = generator.randrange(len(written))
            written[place : place + generator.randrange(2)] = generator.choice(["", "x", "yz"])
        for name in ("<BOT>p<EOT>", "<BOT>q<EOT>"):
            written.insert(generator.randrange(len(written) + 1), name)
        found = gate(text, "".join(written))
        if isinstance(found, AnnotatedDocument):
            assert "".join(found.texts) == text
            assert sorted(found.rationales) == ["p", "q"]


def test_another_text_is_dropped():
    found = gate("It rains in Spain.", "Sure! Here is it: <BOT>r<EOT>It rains in Spain.")
    assert isinstance(found, Dropped) and found.reason.startswith("unfaithful: ")


@pytest.mark.parametrize(
    ("rationale", "preceding", "following", "answer", "kind"),
    [
        ("so it is 1200 then", "a", " x", "1,200.0", "leak: the final answer"),
        ("so it is 12000 then", "a", " x", "1,200", ""),
        ("start from the 5 apples", "5 apples", " x", "5", ""),
        ("it must be New York", "a", " x", "new york", "leak: the final answer"),
        ("next: the cat sat on the mat", "a", "The cat sat on the mat.", None, ""),
        ("next: The cat sat on the mat.", "a", "the cat sat on the mat.", None, "leak: words"),
        ("as before a b c d e f g h", "a b c d e f g h", "a b c d e f g h i", None, ""),
        ("it is 5", "2 + 3", " is 5", None, ""),
    ],
)
def test_find_leak(rationale, preceding, following, answer, kind):
    assert find_leak(rationale, preceding, following, answer).startswith(kind)
    assert bool(find_leak(rationale, preceding, following, answer)) == bool(kind)


def test_the_text_after_a_leaking_rationale_joins_the_piece_before():
    text = "First a thing. Then 7 follows. The end."
    written = "First a thing. <BOT>think<EOT>Then 7 follows. <BOT>it is 9<EOT>The end."
    found = gate(text, written, answer="9")
    assert isinstance(found, AnnotatedDocument)
    assert found.texts == ("First a thing. ", "Then 7 follows. The end.")
    assert found.rationales == ("think",)
    assert found.rejected == (("it is 9", "leak: the final answer"),)


def test_rejects_unknown_documents_and_invalid_arguments():
    annotated, _ = parse_annotated("1", "s", "a<BOT>r<EOT>b")
    with pytest.raises(ValueError, match="without its `document`"):
        list(faithful([annotated]))
    with pytest.raises(ValueError, match="min_similarity=2"):
        faithful([], min_similarity=2)
