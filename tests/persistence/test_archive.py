"""Files of plain values and tensors: what goes in comes out, and bad files are told."""

import json
import math
import os
import stat
from array import array
from collections import OrderedDict

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from sktorch.persistence.archive import MAX_JSON, checksum, read, write
from sktorch.persistence.tree import MAX_DEPTH

VALUES = {
    "nothing": None,
    "bools": [True, False],
    "ints": [0, -1, 2**63, -(2**80), 10**5000],
    "floats": [0.1, -0.0, math.inf, -math.inf, 5e-324],
    "complex": [1 + 2j, complex(math.inf, -0.0)],
    "strings": ["", "ü\n\"'", "\ud800", "\x00"],
    "bytes": b"\x00\xff",
    "dicts": {"a": {}, "$": 1, 1: 2, None: 3, (1, "b"): 4, 0.5: 5},
    "ordered": OrderedDict([("b", 1), ("a", 2)]),
    "containers": [(), (1, [2]), {1, 2}, frozenset("ab"), slice(1, None), range(3), [[]]],
    "shapes": torch.Size([2, 3]),
    "devices": [torch.device("cpu"), torch.device("cuda:1")],
    "dtypes": [torch.float32, np.dtype("float32"), np.dtype("<U3"), np.dtype(object)],
    "scalars": [np.float64(0.1), np.float32(0.1), np.int8(-1), np.bool_(True), np.str_("ab")],
    "dates": [np.datetime64("2020-02-29", "D"), np.timedelta64(3, "ms"), np.longdouble(1) / 3],
    "columns": [array("d", [0.1]), array("q", [2**62]), array("d")],
}


def same(one, other):
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return [*one] == [*other] and all(same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        equal = one.tolist() == other.tolist() or np.array_equal(one, other)
        return (one.dtype, one.shape) == (other.dtype, other.shape) and equal
    return type(one) is type(other) and (one == other or one is other)


@pytest.fixture
def kept(tmp_path):
    """Return a function that writes a value and reads it again."""

    def write_and_read(value):
        write(tmp_path / "file", value, "test")
        return read(tmp_path / "file", "test")

    return write_and_read


@pytest.mark.parametrize("value", VALUES.values(), ids=VALUES.keys())
def test_plain_values_come_back(value, kept):
    other = kept(value)
    assert same(value, other)
    if value is not VALUES["ints"]:  # One is longer than what Python prints.
        assert repr(value) == repr(other)


ARRAYS = {
    "numbers": np.arange(6.0).reshape(2, 3),
    "columns first": np.asfortranarray(np.arange(6, dtype=np.int8).reshape(2, 3)),
    "strided": np.arange(10, dtype=np.uint16)[::3],
    "number": np.array(3, dtype=np.float16),
    "empty": np.zeros((0, 3)),
    "bools": np.array([True, False]),
    "other bytes": np.arange(3, dtype=">i4"),
    "complex": np.array([[1j, 2], [3, 4]], order="F"),
    "strings": np.array([["a", "bcd"]]),
    "byte strings": np.array([b"a", b"bcd"]),
    "dates": np.array(["2020-01-01", "NaT"], dtype="M8[ns]"),
    "long": np.array([1, 2], dtype=np.longdouble) / 3,
    "objects": np.array([["a", 1], [None, (2, np.float32(0.5))]], dtype=object),
    "objects, columns first": np.array([["a", 1, 2], [None, 2.5, 3]], dtype=object, order="F"),
}


@pytest.mark.parametrize("value", ARRAYS.values(), ids=ARRAYS.keys())
def test_arrays_come_back(value, kept):
    other = kept(value)
    assert same(value, other) or value.dtype.kind == "M"
    assert (other.dtype, other.shape) == (value.dtype, value.shape)
    assert other.flags.f_contiguous == (value.flags.f_contiguous or value.ndim == 1)
    assert other.flags.writeable
    np.testing.assert_array_equal(value, other)


def tensor(dtype):
    return torch.arange(6).reshape(2, 3).to(dtype)


TENSORS = {
    **{str(dtype): tensor(dtype) for dtype in (torch.float32, torch.float64, torch.bfloat16)},
    **{str(dtype): tensor(dtype) for dtype in (torch.bool, torch.uint16, torch.int64)},
    **{str(dtype): tensor(dtype) for dtype in (torch.complex64, torch.complex128)},
    "number": torch.tensor(2.5),
    "empty": torch.zeros(0, 4),
    "transposed": torch.arange(6.0).reshape(2, 3).T,
    "channels last": torch.rand(2, 3, 4, 5).to(memory_format=torch.channels_last),
    "part": torch.arange(1000.0)[3:9],
    "column": torch.arange(12.0).reshape(4, 3)[:, 1],
    "expanded": torch.tensor([1.0, 2.0]).expand(3, 2),
    "conjugate": torch.tensor([1 + 2j, 3]).conj(),
    "transposed complex": tensor(torch.complex128).T,
}


@pytest.mark.parametrize("value", TENSORS.values(), ids=TENSORS.keys())
def test_tensors_come_back(value, kept):
    other = kept({"a": value})["a"]
    assert other.dtype is value.dtype
    assert torch.equal(other, value)
    dense = value.untyped_storage().nbytes() == value.nbytes
    assert other.stride() == (value.stride() if dense else value.contiguous().stride())
    assert not other.requires_grad


def test_parts_of_tensors_are_kept_without_the_rest(tmp_path):
    write(tmp_path / "file", torch.zeros(100_000)[:5], "test")
    assert (tmp_path / "file").stat().st_size < 1000


def test_parameters_come_back(kept):
    trained, frozen = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False)
    result = trained * 2
    other = kept([trained, frozen, torch.ones(1, requires_grad=True), result])
    assert [type(value) for value in other] == [*[nn.Parameter] * 2, *[torch.Tensor] * 2]
    assert [value.requires_grad for value in other] == [True, False, True, False]
    assert all(value.is_leaf for value in other)


def test_what_comes_again_is_the_same_again(kept):
    values, numbers = nn.Parameter(torch.ones(2)), np.ones(2)
    one, other, numbers_1, numbers_2 = kept([values, values, numbers, numbers])
    assert one is other
    assert numbers_1 is numbers_2


def test_tensors_go_on_sharing_their_memory(kept):
    flat = torch.arange(12.0)
    parts = kept({"second": flat[6:].view(2, 3), "first": flat[:6].view(3, 2).T, "all": flat})
    parts["all"].zero_()
    assert not parts["first"].any()
    assert not parts["second"].any()
    assert parts["first"].stride() == (1, 2)


@pytest.mark.parametrize(
    "content",
    [
        {"a": {"b": torch.zeros(1)}, "a.b": torch.ones(1), "a.b_": torch.ones(1) * 2},
        {"__metadata__": torch.ones(1), "\ud800": torch.zeros(1)},
        {"a": torch.zeros(0, dtype=torch.complex128), "b": np.zeros(0, complex)},
    ],
)
def test_any_names_will_do(content, kept):
    other = kept(content)
    assert [*other] == [*content]
    assert str(other) == str(content)


def test_other_tools_read_the_tensors(tmp_path):
    module = nn.Linear(3, 2)
    write(tmp_path / "file", {"weights": module.state_dict()}, "test")
    read_by_others = load_file(tmp_path / "file")
    assert [*read_by_others] == ["weights.bias", "weights.weight"]
    assert torch.equal(read_by_others["weights.weight"], module.weight)
    with safe_open(tmp_path / "file", "pt") as file:
        metadata = file.metadata()
    assert {"format": "sktorch", "version": "1", "kind": "test"}.items() <= metadata.items()
    json.loads(metadata["content"])


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


def endless():
    value = []
    value.append(value)
    return value


REFUSED = {
    "object": (lambda: {"a": [object()]}, "a.0 is of type builtins.object"),
    "function": (lambda: len, "content is of type"),
    "class": (lambda: [int], "0 is of type builtins.type"),
    "sparse": (lambda: torch.eye(2).to_sparse(), "torch.Tensor"),
    "meta": (lambda: torch.empty(2, device="meta"), "torch.Tensor"),
    "quantized": (lambda: torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8), "Tensor"),
    "fields": (lambda: np.zeros(2, [("a", int)]), "numpy.ndarray"),
    "subclass": (lambda: np.ma.array([1]), "numpy.ma"),
    "deep": (lambda: nested(MAX_DEPTH + 1), "levels deep"),
    "endless": (endless, "levels deep"),
    "huge": (lambda: "a" * (MAX_JSON + 1), "bytes"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED.keys())
@pytest.mark.filterwarnings("ignore:.*quantize:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*quantiz:UserWarning")
def test_what_has_no_place_in_a_file_is_told(make, message, tmp_path):
    with pytest.raises(TypeError, match=message):
        write(tmp_path / "file", make(), "test")
    assert not [*tmp_path.iterdir()]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write(path, 1, "test")

    def fail(*args):
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(OSError, match="No space left"):
                write(path, 2, "test")
        assert read(path, "test") == 1
        assert [*tmp_path.iterdir()] == [path]
    write(path, 2, "test")
    assert read(path, "test") == 2


def test_a_file_has_the_rights_of_any_other(tmp_path):
    (tmp_path / "other").touch()
    write(tmp_path / "file", 1, "test")
    rights = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert len(rights) == 1


def test_a_link_stays_a_link(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "file")
    write(tmp_path / "link", 1, "test")
    assert (tmp_path / "link").is_symlink()
    assert read(tmp_path / "file", "test") == 1


@pytest.mark.parametrize("name", ["no folder/file", "."])
def test_where_nothing_can_be_written(name, tmp_path):
    with pytest.raises(OSError, match=r"folder|directory"):
        write(tmp_path / name, 1, "test")


def test_there_is_no_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing"):
        read(tmp_path / "nothing", "test")
    with pytest.raises(IsADirectoryError):
        read(tmp_path, "test")


def forged(path, content, tensors=None, /, **changed):
    """Write a file with content and metadata that `write` would not write."""
    text = content if isinstance(content, str) else json.dumps(content)
    tensors = tensors or {}
    metadata = {"format": "sktorch", "version": "1", "kind": "test", "content": text} | changed
    save_file(tensors, path, {"checksum": checksum(metadata, tensors)} | metadata)


WRONG_METADATA = {
    "other format": ({"format": "pt"}, "was not written by sktorch"),
    "newer": ({"version": "2"}, "version '2'.*reads versions up to 1.*newer sktorch"),
    "no version": ({"version": "x"}, "version 'x'"),
    "long version": ({"version": "9" * 10_000}, "version '999"),
    "other kind": ({"kind": "checkpoint"}, "holds a checkpoint, expected a file with a test"),
    "checksum": ({"checksum": "0"}, "is damaged: its checksum does not hold"),
    "huge": ({"content": " " * (MAX_JSON + 1)}, "is damaged: its JSON has more"),
}


@pytest.mark.parametrize(("changed", "message"), WRONG_METADATA.values(), ids=WRONG_METADATA.keys())
def test_files_of_others(changed, message, tmp_path):
    forged(tmp_path / "file", 1, **changed)
    with pytest.raises(ValueError, match=message):
        read(tmp_path / "file", "test")


def test_any_byte_that_is_changed_and_any_end_that_is_missing(tmp_path):
    path = tmp_path / "file"
    write(path, {"a": torch.arange(3.0), "b": ["text", 1.5]}, "test")
    data = path.read_bytes()
    for index in range(len(data)):
        path.write_bytes(data[:index])
        with pytest.raises(ValueError, match="no file of sktorch"):
            read(path, "test")
        path.write_bytes(data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :])
        with pytest.raises(ValueError, match="file"):
            read(path, "test")


TENSOR = {"$": "tensor", "in": "a"}
BAD_TREES = {
    "no JSON": "{",
    "constant": "NaN",
    "decimal": "1" * 5000,
    "deep": "[" * 500 + "]" * 500,
    "deeper": "[" * 500_000,
    "unknown": {"$": "os.system", "of": "true"},
    "no kind": {"$": None},
    "list as kind": {"$": []},
    "missing tensor": TENSOR | {"in": "b"},
    "name of a tensor": TENSOR | {"in": ["a"]},
    "no name": {"$": "tensor"},
    "too large": TENSOR | {"shape": [3], "stride": [0]},
    "shape": TENSOR | {"shape": [-1], "stride": [1]},
    "stride": TENSOR | {"shape": [2], "stride": [2]},
    "offset": TENSOR | {"shape": [2], "stride": [1], "offset": 1},
    "long shape": TENSOR | {"shape": [2**62, 2**62], "stride": [1, 1]},
    "dtype": TENSOR | {"dtype": "torch.load"},
    "wide dtype": TENSOR | {"dtype": "torch.complex128"},
    "parameter of integers": {"$": "tensor", "in": "i", "as": "parameter"},
    "device": TENSOR | {"device": 3},
    "unknown again": {"$": "again", "of": 7},
    "array of nothing": {"$": "array", "of": None},
    "array of objects": {"$": "array", "of": [1, 2], "shape": [3]},
    "array of pointers": {"$": "array", "of": TENSOR, "dtype": "|O", "shape": [1]},
    "array of fields": {"$": "array", "of": TENSOR, "dtype": "i4,i4", "shape": [1]},
    "wide array": {"$": "array", "of": TENSOR, "dtype": "<U999999999", "shape": [1]},
    "scalar": {"$": "scalar", "dtype": "<f8", "of": "AAAA"},
    "scalar of objects": {"$": "scalar", "dtype": "|O", "of": "AAAAAAAAAAA="},
    "bytes": {"$": "bytes", "of": "***"},
    "pairs": {"$": "dict", "of": [[1]]},
    "key": {"$": "dict", "of": [[[1], 2]]},
    "set": {"$": "set", "of": [[1]]},
    "long range": {"$": "range", "of": [0, 2**60]},
    "range as list": {"$": "set", "of": {"$": "range", "of": [3]}},
    "range": {"$": "range", "of": []},
    "column": {"$": "column", "code": "u", "of": {"$": "array", "of": TENSOR}},
    "int": {"$": "int", "of": "x"},
    "float": {"$": "float", "of": "1"},
}


@pytest.mark.parametrize("content", BAD_TREES.values(), ids=BAD_TREES.keys())
def test_bad_trees(content, tmp_path):
    tensors = {"a": torch.ones(2), "i": torch.ones(2, dtype=torch.int64)}
    forged(tmp_path / "file", content, tensors)
    with pytest.raises(ValueError, match="is damaged"):
        read(tmp_path / "file", "test")


def test_a_device_that_is_not_there_is_the_host(tmp_path):
    forged(tmp_path / "file", TENSOR | {"device": "cuda:77"}, {"a": torch.ones(2)})
    assert read(tmp_path / "file", "test").device.type == "cpu"
