import importlib
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    """Imports a benchmark by its folder and name, such as "papers.curves"."""
    monkeypatch.syspath_prepend(ROOT)
    return lambda name: importlib.import_module(f"benchmarks.{name}")


@pytest.fixture
def sal_checkout(tmp_path: Path) -> Path:
    """A folder laid out like search-and-learn's, with a search that makes the same calls."""
    source = """
        from sal.config import Config
        from sal.models.reward_models import PRM
        from tqdm import tqdm
        from vllm import LLM, SamplingParams

        def NAME(examples, config: Config, llm: LLM, prm: PRM):
            (prompt,) = examples["problem"]
            kept, words = "", llm.get_tokenizer()
            for k in tqdm(range(config.num_iterations)):
                last = k == config.num_iterations - 1
                how = SamplingParams(n=1) if last else SamplingParams(n=1, stop=["\\n\\n"])
                chat = [{"role": "user", "content": prompt}, {"role": "assistant", "content": kept}]
                texts = words.apply_chat_template([chat] * config.n, tokenize=False)
                outputs = [x.outputs[0] for x in llm.generate(texts, how, use_tqdm=False)]
                whole = [kept + x.text for x in outputs]
                scores = prm.score([prompt] * config.n, [[x] for x in whole])
                best = max(range(config.n), key=lambda row: scores[row][0][-1])
                kept = whole[best]
                if outputs[best].stop_reason is None:
                    break
            return {"pred": [kept]}
    """
    folder = tmp_path / "search-and-learn" / "src" / "sal"
    searches = {"beam_search": "beam_search", "dvts": "diverse_verifier_tree_search"}
    (folder / "search").mkdir(parents=True)
    for name, file in searches.items():
        text = dedent(source).replace("NAME", name)
        (folder / "search" / f"{file}.py").write_text(text)
    (folder / "config.py").write_text("from types import SimpleNamespace as Config\n")
    return folder.parents[1]
