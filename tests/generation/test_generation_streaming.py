import torch

from reason_decode.generation.streaming import common_prefix


def test_the_common_prefix_is_what_all_rows_begin_with() -> None:
    rows = [torch.tensor(ids) for ids in ([1, 2, 3, 4], [1, 2, 9, 4], [1, 2, 3])]
    assert common_prefix(rows).tolist() == [1, 2]
    assert common_prefix(rows[:1]).tolist() == [1, 2, 3, 4]
