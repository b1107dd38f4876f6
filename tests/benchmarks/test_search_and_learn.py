import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("name", ["beam_search", "dvts"])
def test_a_search_asks_for_lines_and_finally_for_the_rest(
    benchmark: Callable[[str], Any], sal_checkout: Path, name: str
) -> None:
    asked: list[tuple[list[str], bool]] = []

    def write(texts: Sequence[str], line: bool) -> list[str]:
        asked.append((list(texts), line))
        return [f"{row}\n" if line else f"{row}" for row in range(len(texts))]

    search = benchmark("speed.search_and_learn").load(sal_checkout)
    found = search(name, "Why?\n", write, lambda whole: [int(x[-2:]) for x in whole], n=3, steps=2)
    assert found == "2\n2"
    assert asked == [(["Why?\n"] * 3, True), (["Why?\n2\n"] * 3, False)]


def test_a_sample_with_the_end_of_sequence_ends_the_search(
    benchmark: Callable[[str], Any], sal_checkout: Path
) -> None:
    search = benchmark("speed.search_and_learn").load(sal_checkout)
    done = search(
        "dvts",
        "",
        lambda texts, _: ["x"] * len(texts),
        lambda whole: [0.0] * len(whole),
        n=2,
        steps=9,
    )
    assert done == "x"


def test_load_leaves_no_stub_modules(benchmark: Callable[[str], Any], sal_checkout: Path) -> None:
    before, path = set(sys.modules), [*sys.path]
    module = benchmark("speed.search_and_learn")
    module.load(sal_checkout)
    with pytest.raises(ModuleNotFoundError, match="sal"):
        module.load(sal_checkout / "src")
    left = {name for name in {*sys.modules} - before if name.startswith(("sal", "vllm"))}
    assert not left
    assert [x for x in sys.path if "search-and-learn" in x] == []
    assert path[-1] == sys.path[-1]
