"""Traces for the tests of the viewer, and texts that try to break it."""

from reason_decode.core.solutions import Candidate, Step, Trace

HOSTILE = (
    "</script><script>window.hacked = 1</script>",
    "<img src=x onerror='window.hacked = 1'>",
    "<!-- <script>",
    "]]>&lt;b&gt;&amp;",
    "{{script}} {{head}}",
    "\u202eright to left\u202c",
    "nul \x00 bell \x07 line \u2028 paragraph \u2029",
    "half \ud800 other half \udc00 whole \U0001f600",
    "'\"`${window.hacked = 1}\\",
    "javascript:window.hacked=1",
)


def best_of(texts: tuple[str, ...], strategy: str = "BestOfN", prompt: str = "p") -> Trace:
    """Candidates of one step each; the first is the best."""
    scores = [1 - k / len(texts) for k in range(len(texts))]
    found = (
        Candidate(text, (text,), (score,), score, tokens=3)
        for text, score in zip(texts, scores, strict=True)
    )
    return Trace(prompt, strategy, tuple(found), chosen=(0,))


def vote(answers: dict[str | None, int], weights: dict[str, float]) -> Trace:
    """A vote with a number of candidates for each answer; the first of the winner's is returned."""
    voters = [x for x, count in answers.items() for _ in range(count)]
    found = tuple(Candidate(f"so {x}", (f"so {x}",), answer=x, tokens=2) for x in voters)
    winner = voters.index(max(weights, key=weights.__getitem__))
    return Trace("which?", "SelfConsistency", found, chosen=(winner,), votes=weights)


def step(
    text: str, total: float, parent: int | None = None, kept: bool = False, end: bool = False
) -> Step:
    return Step(text, total, total, parent, kept, end, 4)


def search() -> Trace:
    """A beam search of width 2 over three rounds; a step's text begins with its parent's."""
    rounds = (
        (step("a", 0.5, kept=True), step("b", 0.9, kept=True), step("c", 0.1)),
        (
            step("bd", 0.8, parent=1, kept=True),
            step("be", 0.2, parent=1),
            step("af", 0.95, parent=0, kept=True, end=True),
        ),
        (step("bdg", 0.85, parent=0, kept=True, end=True), step("bdh", 0.3, parent=0)),
    )
    first = Candidate("a\naf", ("a", "af"), (0.5, 0.95), 0.95, tokens=8)
    other = Candidate("b\nbd\nbdg", ("b", "bd", "bdg"), (0.9, 0.8, 0.85), 0.85, tokens=12)
    return Trace("search", "StepSearch", (first, other), chosen=(0,), rounds=rounds)
