import pytest
import torch

from reason_decode.models.padding import pad_rows

ROWS = [[5, 6, 7], [8], []]


@pytest.mark.parametrize(
    ("side", "ids", "mask"),
    [
        ("right", [[5, 6, 7], [8, 9, 9], [9, 9, 9]], [[1, 1, 1], [1, 0, 0], [0, 0, 0]]),
        ("left", [[5, 6, 7], [9, 9, 8], [9, 9, 9]], [[1, 1, 1], [0, 0, 1], [0, 0, 0]]),
    ],
)
def test_pads_and_masks_the_given_side(side, ids, mask):
    found = pad_rows(ROWS, side=side, value=9)
    assert [x.tolist() for x in found] == [ids, mask]
    assert [x.dtype for x in found] == [torch.int64, torch.int64]


def test_rows_of_padding_values_are_not_masked():
    ids, mask = pad_rows([[0, 1], [0]], side="right")
    assert ids.tolist() == [[0, 1], [0, 0]]
    assert mask.tolist() == [[1, 1], [1, 0]]


@pytest.mark.parametrize("side", ["left", "right"])
def test_tensors_and_lists_are_padded_alike(side):
    expected = pad_rows(ROWS, side=side, value=-100)
    found = pad_rows([torch.tensor(row, dtype=torch.int32) for row in ROWS], side=side, value=-100)
    for x, y in zip(found, expected, strict=True):
        assert torch.equal(x, y)
        assert x.dtype == y.dtype


def test_rejects_an_empty_batch():
    with pytest.raises(ValueError, match="no rows"):
        pad_rows([], side="left")
