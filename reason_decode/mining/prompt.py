"""The chat prompt that asks a model to write rationales into a text."""

from collections.abc import Mapping

from reason_decode.core.tags import TAGS, Tags
from reason_decode.io.openai_client import Messages
from reason_decode.mining.config import Domain
from reason_decode.mining.documents import Document, parse_annotated

__all__ = ["SHOTS", "messages", "without_rationales"]

INSTRUCTION = """\
Below you are given a text. Repeat it word for word, and put rationales into it. A rationale is \
the thought that leads from what has been said to what is said next, and that the text itself \
leaves out. It stands between {opening} and {closing}, right before the sentence it leads to.

- One or two short sentences each. Put one only where a reader who has come so far would not yet \
know what follows or why.
- Point the way; don't say where it ends: no result that comes later, no words copied from the \
sentence that follows, never the final answer.
- Change nothing else: the text without your rationales must be the text you were given, with its \
line breaks, spelling and mistakes.
- Write nothing before it and nothing after it."""

# Worked examples, written for this library; none is from a data set.
SHOTS: dict[Domain, tuple[str, ...]] = {
    "math": (
        "A baker fills 6 trays with 15 rolls each. At noon a third of the rolls are sold, and in "
        "the afternoon 22 more. How many rolls are left?\n"
        "<BOT>First find how many rolls there are at all, from the trays and what each holds.<EOT>"
        "The baker makes 6 * 15 = 90 rolls.\n"
        "<BOT>The noon sale is a share of that total, so divide it.<EOT>"
        "At noon 90 / 3 = 30 rolls are sold.\n"
        "<BOT>Both sales have to be taken away from what was baked.<EOT>"
        "So 90 - 30 - 22 = 38 rolls are left.\n#### 38",
        "Tom is twice as old as Ida. In 5 years the two will be 40 years old together. How old is "
        "Ida?\n"
        "<BOT>Go back from the future sum to today: each of the two gets older.<EOT>"
        "In 5 years they gain 10 years together, so today they are 40 - 10 = 30.\n"
        "<BOT>Count in Idas: Tom is two of her, which makes equal parts of the sum.<EOT>"
        "Tom and Ida are 2 + 1 = 3 times Ida's age, so Ida is 30 / 3 = 10.\n#### 10",
    ),
    "general": (
        "The bridge was closed on Monday after engineers found cracks in two of its bearings. "
        "<BOT>A closed bridge sends its traffic somewhere, and the crossing nearby must take "
        "it.<EOT>"
        "Drivers queued for up to an hour at the old ferry. "
        "<BOT>A city under such pressure looks for what can be done before the repair is "
        "over.<EOT>"
        "The council has asked the army for a temporary span.",
        "> My loop over the list skips every second item when I remove things from it. Why?\n\n"
        "<BOT>Think of what removal does to the positions behind the item while the loop counts "
        "on.<EOT>"
        "When you delete an element, everything behind it moves up by one place, but the index "
        "still increases. "
        "<BOT>So the list that is walked through should not be the one that is changed.<EOT>"
        "Iterate over a copy, or build a new list of what you want to keep.",
    ),
}


def messages(
    document: Document, domain: Domain | Mapping[str, Domain] = "general", tags: Tags = TAGS
) -> Messages:
    """The chat that asks for a document with rationales: instruction, worked examples, document.

    Args:
        document: the document to annotate.
        domain: the kind of worked examples: one domain, or source -> domain, where the sources
            that are missing and have no entry ``""`` get ``"general"``.
        tags: the tags that the model is to put around a rationale.

    Raises:
        ValueError: there is no such domain.

    Examples:
        >>> from reason_decode.mining import Document
        >>> [turn["role"] for turn in messages(Document("1", "web", "It rains."))][-3:]
        ['user', 'assistant', 'user']
    """
    name = domain
    if not isinstance(domain, str):
        name = domain.get(document.source, domain.get("", "general"))
    if name not in SHOTS:
        raise ValueError(f"got the domain {name!r}; there are {', '.join(map(repr, SHOTS))}")
    instruction = INSTRUCTION.format(opening=tags.opening, closing=tags.closing)
    chat = [{"role": "system", "content": instruction}]
    for shot in SHOTS[name]:
        answer = shot.replace(TAGS.opening, tags.opening).replace(TAGS.closing, tags.closing)
        chat.append({"role": "user", "content": without_rationales(shot)})
        chat.append({"role": "assistant", "content": answer})
    return [*chat, {"role": "user", "content": document.text}]


def without_rationales(text: str, tags: Tags = TAGS) -> str:
    """A tagged text without its rationales and tags."""
    return "".join(parse_annotated("", "", text, tags)[0].texts)
