"""The searches of search-and-learn over any two models, for ``cost.py`` and ``peers.py``.

    git clone https://github.com/huggingface/search-and-learn   # it is on no package index

They ask vLLM for steps and a reward model of their own class for scores. Here two functions take
the place of both, and modules that they import but never call need not be installed.
"""

import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

NEWLINE = "\n"
HOW_TO_GET = (
    "search-and-learn is left out: git clone https://github.com/huggingface/search-and-learn "
    "and pass --search-and-learn FOLDER"
)
# Modules that the searches import and never call.
UNUSED = ("vllm", "datasets", "sal.models.reward_models", "sal.utils.hub", "sal.utils.math")

WriteFunction = Callable[[Sequence[str], bool], Sequence[str]]
"""``(texts, line)`` -> a continuation of each text, to the end of its line or to its end."""
ScoreFunction = Callable[[Sequence[str]], Sequence[float]]
"""``solutions`` -> the score of each solution's last step."""


class _StubModule(ModuleType):
    """A module that has every attribute."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # vLLM's SamplingParams only holds options.
        return SimpleNamespace if name == "SamplingParams" else object


class _StubLLM:
    """The methods of vLLM's ``LLM`` that the searches call.

    Args:
        write: writes steps; a step ends where its line ends.
    """

    def __init__(self, write: WriteFunction) -> None:
        self.write = write

    def get_tokenizer(self) -> "_StubLLM":
        return self

    def apply_chat_template(self, chats: Sequence[Sequence[dict[str, str]]], **_: Any) -> list[str]:
        """The contents of each chat as plain text, for models without turns."""
        return ["".join(turn["content"] for turn in chat) for chat in chats]

    def generate(self, texts: Sequence[str], sampling_params: Any, **_: Any) -> list[Any]:
        line = hasattr(sampling_params, "stop")
        outputs = []
        for text in self.write(texts, line):
            # No stop reason means that the sample ended with the end of sequence.
            reason = NEWLINE if line and text.endswith(NEWLINE) else None
            outputs.append(
                SimpleNamespace(outputs=[SimpleNamespace(text=text, stop_reason=reason)])
            )
        return outputs


def load(checkout: str | Path) -> Callable[..., str]:
    """The searches of a checkout as one function.

    Args:
        checkout: the cloned folder.

    Returns:
        ``search(name, prompt, write, score, n=, steps=)``, the text that the search finds. ``name``
        is ``beam_search`` or ``dvts``, ``write`` a ``WriteFunction``, ``score`` a
        ``ScoreFunction``; of ``n`` candidates for each step the best one is kept.

    Raises:
        ModuleNotFoundError: the folder has no such searches.
    """
    with _importable(Path(checkout) / "src"):
        config = importlib.import_module("sal.config").Config
        modules = {
            "beam_search": importlib.import_module("sal.search.beam_search"),
            "dvts": importlib.import_module("sal.search.diverse_verifier_tree_search"),
        }
    for module in modules.values():
        vars(module)["tqdm"] = lambda rounds, **_: rounds  # no progress bar for each problem

    def search(
        name: str,
        prompt: str,
        write: WriteFunction,
        score: ScoreFunction,
        *,
        n: int,
        steps: int,
    ) -> str:
        options = config(
            approach=name,
            n=n,
            beam_width=n,
            num_iterations=steps,
            # A lookahead would be written for each step, and beam search would not score it.
            lookahead=0,
            temperature=1.0,
            search_batch_size=1,
            system_prompt="",
            custom_chat_template=None,
        )
        run = getattr(modules[name], name)
        return run({"problem": [prompt]}, options, _StubLLM(write), _StubPRM(score))["pred"][0]

    return search


class _StubPRM:
    """The method of a reward model that the searches call.

    Args:
        score: scores the last step of each solution.
    """

    def __init__(self, score: ScoreFunction) -> None:
        self._score = score

    def score(self, _: Any, outputs: Sequence[Sequence[str]]) -> Any:
        scores = iter(self._score([text for texts in outputs for text in texts]))
        return [[[next(scores)] for _ in texts] for texts in outputs]


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Make ``sal`` importable from a folder; afterwards ``sys.modules`` is as before."""
    hidden = {name: sys.modules.pop(name) for name in [*sys.modules] if _is_theirs(name)}
    sys.modules.update({name: _StubModule(name) for name in UNUSED})
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [*sys.modules]:
            if _is_theirs(name):
                del sys.modules[name]
        sys.modules.update(hidden)


def _is_theirs(name: str) -> bool:
    return name in UNUSED or name.split(".")[0] == "sal"
