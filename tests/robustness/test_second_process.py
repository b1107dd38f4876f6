import gc
from pathlib import Path

import pytest

from tests.server import served


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of forks, and of transformers, torch and peft
def test_a_second_process_on_an_output_is_refused_by_every_command(tmp_path: Path):
    """The first one is stopped as soon as it has locked its first file.

    Two processes of ``rerank``, of ``trace`` and of ``train ngram-ranker`` both wrote their result.
    """
    pytest.importorskip("accelerate", reason="training needs accelerate")
    from tests.robustness.soak import Soak, preload

    preload()
    with served(lambda prompt, count: None) as (server, _):
        soak = Soak(tmp_path, 0, server)
        gc.collect()
        gc.freeze()
        for name in soak.commands:
            soak.trial(name, ["locked"])
        print({name: soak.counts.second[name] for name in soak.commands}, soak.counts)
    assert not soak.counts.faults, "\n\n".join(soak.counts.faults)
    assert all(soak.counts.second[name] for name in soak.commands)
