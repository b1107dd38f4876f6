"""search-and-learn's searches over any two models: what `cost.py` and `peers.py` run beside ours.

    git clone https://github.com/huggingface/search-and-learn   # it is on no package index

Its searches ask vLLM for steps and a reward model of their own class for scores. Neither is needed
to run them: they are given two functions here, and modules that they import and never call need
not be installed.
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
    "and give --search-and-learn FOLDER"
)
# Imported by the searches, and never called by them.
UNUSED = ("vllm", "datasets", "sal.models.reward_models", "sal.utils.hub", "sal.utils.math")

Write = Callable[[Sequence[str], bool], Sequence[str]]
Judge = Callable[[Sequence[str]], Sequence[float]]


class _StandIn(ModuleType):
    """A module that has every name."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        # What vLLM's are: a bag of options.
        return SimpleNamespace if name == "SamplingParams" else object


class _Writer:
    """What the searches call of vLLM's ``LLM``: steps that end where ``write`` ends a line."""

    def __init__(self, write: Write) -> None:
        self.write = write

    def get_tokenizer(self) -> "_Writer":
        return self

    def apply_chat_template(self, chats: Sequence[Sequence[dict[str, str]]], **_: Any) -> list[str]:
        """Chats as plain text, for models that know no turns."""
        return ["".join(turn["content"] for turn in chat) for chat in chats]

    def generate(self, texts: Sequence[str], how: Any, **_: Any) -> list[Any]:
        line = hasattr(how, "stop")
        outputs = []
        for text in self.write(texts, line):
            # Without a reason the sample ended by itself.
            reason = NEWLINE if line and text.endswith(NEWLINE) else None
            outputs.append(
                SimpleNamespace(outputs=[SimpleNamespace(text=text, stop_reason=reason)])
            )
        return outputs


def load(checkout: str | Path) -> Callable[..., str]:
    """The searches of a checkout.

    Args:
        checkout: the folder that was cloned.

    Returns:
        ``search(name, prompt, write, judge, n=, steps=)``, where ``name`` is ``beam_search`` or
        ``dvts``: the text that it finds. Of ``n`` candidates a step it keeps the best one;
        ``write(texts, line)`` goes on from each text to the end of its line, that included, or,
        without ``line``, to its end; ``judge(solutions)`` gives the score of each one's last step.

    Raises:
        ModuleNotFoundError: the folder holds no such searches.
    """
    with _importable(Path(checkout) / "src"):
        config = importlib.import_module("sal.config").Config
        modules = {
            "beam_search": importlib.import_module("sal.search.beam_search"),
            "dvts": importlib.import_module("sal.search.diverse_verifier_tree_search"),
        }
    for module in modules.values():
        vars(module)["tqdm"] = lambda rounds, **_: rounds  # a bar for each problem

    def search(name: str, prompt: str, write: Write, judge: Judge, *, n: int, steps: int) -> str:
        class Verifier:
            def score(self, _: Any, outputs: Sequence[Sequence[str]]) -> Any:
                scores = iter(judge([text for texts in outputs for text in texts]))
                return [[[next(scores)] for _ in texts] for texts in outputs]

        options = config(
            approach=name,
            n=n,
            beam_width=n,
            num_iterations=steps,
            # A look ahead is written for each step, and not scored by its beam search.
            lookahead=0,
            temperature=1.0,
            search_batch_size=1,
            system_prompt="",
            custom_chat_template=None,
        )
        run = getattr(modules[name], name)
        return run({"problem": [prompt]}, options, _Writer(write), Verifier())["pred"][0]

    return search


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """While it lasts ``sal`` is what the folder holds; what it imported goes with it."""
    covered = {name: sys.modules.pop(name) for name in [*sys.modules] if _is_theirs(name)}
    sys.modules.update({name: _StandIn(name) for name in UNUSED})
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [*sys.modules]:
            if _is_theirs(name):
                del sys.modules[name]
        sys.modules.update(covered)


def _is_theirs(name: str) -> bool:
    return name in UNUSED or name.split(".")[0] == "sal"
