from typing import Any

import pytest

from reason_decode.runs.options import RunOptions, Shard


@pytest.mark.parametrize("text", ["1/1", "2/8", "16/16"])
def test_a_shard_is_parsed_and_printed_alike(text: str):
    assert str(Shard.parse(text)) == text


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/", "a/b", "-1/2", "1/2/3", "1/0"])
def test_rejects_what_is_not_a_shard(text: str):
    with pytest.raises(ValueError, match="need I/N from 1/N to N/N"):
        Shard.parse(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "got workers=0; need at least 1"),
        ({"executor": "kubernetes", "workers": 2}, "need one of local, ray, slurm"),
        ({"executor": "ray"}, "give the number of its tasks"),
        ({"executor_options": [1]}, "need an object of keyword arguments"),
        ({"workers": 2, "shard": Shard(1, 2)}, "give workers without a shard"),
        ({"restart": True, "shard": Shard(1, 2)}, "give restart without a shard"),
    ],
)
def test_rejects_options_that_exclude_each_other(options: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        RunOptions(**options)


def test_a_run_is_divided_by_shards_or_workers():
    assert not RunOptions().is_divided and not RunOptions(restart=True).is_divided
    assert RunOptions(workers=2).is_divided and RunOptions(shard=Shard(1, 2)).is_divided
