"""Objects come back from a file, their arrays as maps of it."""

import numpy as np
import pandas as pd
import pytest
import torch

from sktorch.workers.mapped_file import ALIGNMENT, read, write

ARRAYS = [
    np.arange(12.0).reshape(3, 4),
    np.asfortranarray(np.arange(12).reshape(3, 4)),
    np.arange(24).reshape(4, 6)[::2, ::3],
    np.zeros((0, 4)),
    np.array(3.0),
    np.array(["a", "bc"]),
    np.array(["a", None], dtype=object),
]


@pytest.mark.parametrize("array", ARRAYS, ids=[*map(str, range(len(ARRAYS)))])
def test_arrays_come_back(tmp_path, array):
    write(tmp_path / "file", (array, [array, 1]))
    got, (again, one) = read(tmp_path / "file")
    assert got.dtype == array.dtype
    np.testing.assert_array_equal(got, array)
    assert again is got
    assert one == 1


def test_arrays_are_maps_that_outlive_the_file(tmp_path):
    arrays = np.arange(1001.0, dtype=np.float32), np.arange(7)
    write(tmp_path / "file", arrays)
    got = read(tmp_path / "file")
    (tmp_path / "file").unlink()
    for mapped, array in zip(got, arrays, strict=True):
        np.testing.assert_array_equal(mapped, array)
        assert not mapped.flags.owndata
        assert not mapped.flags.writeable
        assert mapped.ctypes.data % ALIGNMENT == 0


def test_tables_tensors_and_functions_of_here_come_back(tmp_path):
    table = pd.DataFrame({"a": [1, 2], "b": ["x", None]})
    write(tmp_path / "file", (table, torch.arange(3.0), lambda x: x + 1))
    got, tensor, function = read(tmp_path / "file")
    pd.testing.assert_frame_equal(got, table)
    assert tensor.tolist() == [0, 1, 2]
    assert function(1) == 2
