"""Where rows are kept, and that it does not change the model."""

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import nn

from sktorch import TorchClassifier
from sktorch.data.rows import Rows
from sktorch.data.sources import as_source

CPU = torch.device("cpu")
VALUES = np.arange(12.0).reshape(4, 3)


def placed_rows(values, dtype, device, placement):
    home = CPU if placement == "host" else device
    kept = {"whole": placement != "source", "pinned": placement == "host"}
    return Rows(as_source(values), dtype, home, **kept)


def mapped(tmp_path):
    path = tmp_path / "X.npy"
    np.save(path, VALUES)
    return np.load(path, mmap_mode="r")


@pytest.mark.parametrize(
    ("make", "requested", "expected"),
    [
        (lambda _: VALUES, "auto", "device"),
        (lambda _: VALUES, "device", "device"),
        (lambda _: VALUES, "host", "device"),  # A CPU's host is the device.
        (lambda _: VALUES, "source", "source"),
        (lambda _: torch.from_numpy(VALUES), "auto", "device"),
        (mapped, "auto", "source"),
        (mapped, "device", "source"),
        (lambda _: sparse.csr_array(VALUES), "auto", "source"),
        (lambda _: sparse.csr_array(VALUES), "device", "source"),
        (lambda _: {"a": VALUES, "b": VALUES}, "auto", "device"),
        (lambda _: {"a": VALUES, "b": sparse.csr_array(VALUES)}, "auto", "source"),
    ],
)
def test_choice_on_a_cpu(make, requested, expected, tmp_path):
    values = make(tmp_path)
    placement = as_source(values).placement(torch.float32, CPU, requested)
    assert placement == expected
    rows = placed_rows(values, torch.float32, CPU, placement)
    assert rows.is_whole == (expected == "device")
    batch = rows[torch.tensor([2, 0])]
    batch = batch["b"] if isinstance(values, dict) else batch
    assert torch.equal(batch, torch.tensor(VALUES[[2, 0]], dtype=torch.float32))


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
def test_placement_does_not_change_a_bit(iris, dtype):
    X, y = (10 * iris[0]).astype(dtype), iris[1]

    def fit(**placement):
        return TorchClassifier(max_epochs=3, random_state=0, device="cpu", **placement).fit(X, y)

    expected, got = fit(), fit(data_placement="source")
    assert (expected.data_placement_, got.data_placement_) == ("device", "source")
    np.testing.assert_array_equal(expected.predict_proba(X), got.predict_proba(X))


@pytest.mark.parametrize("device", ["cpu", "mps"])
@pytest.mark.parametrize("requested", ["auto", "host", "device", "source"])
def test_only_cuda_has_a_host_of_its_own(device, requested):
    """Pinned memory and side streams are CUDA's: nothing is copied ahead to another device."""
    placement = as_source(VALUES).placement(torch.float32, torch.device(device), requested)
    assert placement == ("source" if requested == "source" else "device")


@pytest.mark.parametrize("requested", ["auto", "host", "device", "source"])
@pytest.mark.parametrize(
    "make",
    [
        mapped,
        lambda path: mapped(path)[1:, ::2],
        lambda path: np.asarray(mapped(path)),
        lambda _: sparse.csr_matrix(VALUES),
        lambda _: sparse.coo_array(VALUES),
    ],
    ids=["map", "cut of a map", "array of a map", "csr_matrix", "coo_array"],
)
def test_what_is_never_dense_as_a_whole_stays_under_any_requested(make, requested, tmp_path):
    for device in ("cpu", "cuda", "mps"):  # No such device is needed to choose.
        values = make(tmp_path)
        assert (
            as_source(values).placement(torch.float32, torch.device(device), requested) == "source"
        )


@pytest.mark.parametrize("placement", ["device", "source"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("given", ["float32", "float64", "int16", "bool"])
def test_placed_rows_have_the_dtype_asked_for(given, dtype, placement):
    values = VALUES.astype(given)
    rows = placed_rows(values, dtype, CPU, placement)
    assert len(rows) == 4
    assert torch.equal(rows[torch.tensor([3, 1])], torch.from_numpy(values[[3, 1]]).to(dtype))
    assert rows[torch.tensor([3, 1])].dtype is dtype


def test_integers_by_name_stay_integers_in_their_place():
    values = {"words": np.arange(8).reshape(4, 2), "numbers": VALUES}
    for placement in ("device", "source"):
        rows = placed_rows(values, torch.float32, CPU, placement)[torch.tensor([2, 0])]
        assert {name: x.dtype for name, x in rows.items()} == {
            "words": torch.int64,
            "numbers": torch.float32,
        }
        assert rows["words"].tolist() == [[4, 5], [0, 1]]


def test_rows_left_at_the_source_are_not_copied():
    rows = placed_rows(VALUES, torch.float32, CPU, "source")
    assert rows.values is VALUES
    assert placed_rows(VALUES, torch.float32, CPU, "device").values is not VALUES


@pytest.mark.parametrize("placement", ["host", "source"])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"early_stopping": True},
        {"weighted": True},
        {"iterator_train__drop_last": True},
        {"iterator_train__num_workers": 0},
        {"sparse": True},
    ],
    ids=str,
)
def test_placement_of_a_double_array_under_a_float32_module(iris, options, placement):
    X, y = iris
    options = dict(options)
    weights = np.linspace(0, 2, len(y)) if options.pop("weighted", False) else None
    X = sparse.csr_array(X) if options.pop("sparse", False) else X

    def make(n_features, n_outputs):
        return nn.Sequential(
            nn.Linear(n_features, 8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, n_outputs)
        )

    def fit(**placement):
        settings = {"max_epochs": 3, "batch_size": 32, "random_state": 0, "device": "cpu"}
        return TorchClassifier(make, **settings, **options, **placement).fit(X, y, weights)

    expected, got = fit(data_placement="device"), fit(data_placement=placement)
    assert expected.module_[0].weight.dtype is torch.float32
    assert got.loss_curve_ == expected.loss_curve_
    state = got.module_.state_dict()
    for name, value in expected.module_.state_dict().items():
        assert torch.equal(value, state[name]), name


cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@cuda
@pytest.mark.parametrize("requested", ["auto", "device", "host", "source"])
def test_requests_on_a_gpu(requested):
    device = torch.device("cuda")
    placement = as_source(VALUES).placement(torch.float32, device, requested)
    assert placement == ("device" if requested == "auto" else requested)
    rows = placed_rows(VALUES, torch.float32, device, placement)
    batch = rows[torch.tensor([2, 0])]
    assert batch.device.type == ("cpu" if placement == "host" else "cuda")
    assert torch.equal(batch.cpu(), torch.tensor(VALUES[[2, 0]], dtype=torch.float32))
    if placement == "host":
        assert rows.values.is_pinned()


@cuda
def test_data_that_do_not_fit_a_gpu_stay_on_the_host():
    free, _ = torch.cuda.mem_get_info()
    for share, expected in [(0.25, "device"), (2.0, "host")]:
        n_rows = int(share * free / 4 / 1000)
        wide = np.broadcast_to(np.float32(0), (n_rows, 1000))  # No memory behind it.
        assert as_source(wide).placement(torch.float32, torch.device("cuda"), "auto") == expected
