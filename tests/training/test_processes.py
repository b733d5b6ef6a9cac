"""Several processes train the model that one trains."""

from signal import SIGKILL

import joblib
import numpy as np
import pytest
import torch

from sktorch import TorchClassifier
from tests.training.joint_failures import AFTER_DEATH, CASES, DEATH, cases, reason, with_own
from tests.training.joint_fits import FITS, FITS_OF_THREE
from tests.training.ranks import run_ranks


@pytest.fixture(scope="module")
def values_by_rank():
    """The values of all functions, of each rank: they are started once."""
    return run_ranks(cases, *FITS.values())


@pytest.fixture(scope="module")
def fits_by_rank(values_by_rank):
    """The models of `joint_fits` by name."""
    return [dict(zip(FITS, values[1:], strict=True)) for values in values_by_rank]


@pytest.fixture(scope="module")
def cases_by_rank(values_by_rank):
    """The values and errors of `joint_failures` by name."""
    return [values[0] for values in values_by_rank]


def assert_same(value, expected):
    """Compare numbers in dicts and lists."""
    if isinstance(expected, dict):
        assert value.keys() == expected.keys()
        pairs = [(value[name], expected[name]) for name in expected]
    elif isinstance(expected, list):
        assert len(value) == len(expected)
        pairs = list(zip(value, expected, strict=True))
    else:
        np.testing.assert_allclose(value, expected, rtol=1e-9, atol=1e-9)
        return
    for pair in pairs:
        assert_same(*pair)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", FITS)
def test_processes_train_the_model_of_one(name, fits_by_rank):
    expected = FITS[name]()
    for values in fits_by_rank:
        assert_same(values[name], expected)


@pytest.mark.filterwarnings("ignore")
def test_a_process_may_have_no_row_of_a_batch():
    for values in run_ranks(*FITS_OF_THREE.values(), n_ranks=3):
        for value, fit in zip(values, FITS_OF_THREE.values(), strict=True):
            assert_same(value, fit())


SAME = "Rank 1 has other {} than rank 0. Processes that train one model call fit with the same"
FAILED = "RuntimeError: Rank 1 of 2 failed, and with it the training of all: "
ERRORS = {
    # case: errors of rank 0 and rank 1
    "other X": [SAME.format("X")] * 2,
    "another order": [SAME.format("X and y")] * 2,
    "other y": [SAME.format("y")] * 2,
    "other parameter": [SAME.format("batch_size")] * 2,
    "other optimizer": [SAME.format("optimizer")] * 2,
    "other criterion": [SAME.format("criterion")] * 2,
    "rows to validate on": [
        SAME.format(
            " and ".join(f"{n} to validate on" for n in ("X", "y", "sample_weight", "rows"))
        )
    ]
    * 2,
    "bad row": [f"{FAILED}ValueError: X holds values that are no numbers", "ValueError: X holds"],
    "bad parameter": [f"{FAILED}ParameterError: lr must be", "ParameterError: lr must be"],
    "callback raises": [
        f"{FAILED}ValueError: a callback of mine",
        "ValueError: a callback of mine",
    ],
    "callback stops within": [
        f"{FAILED}RuntimeError: A callback ended training within an epoch",
        "RuntimeError: A callback ended training within an epoch",
    ],
    "other shapes": [SAME.format("shapes of weights")] * 2,
    "bad everywhere": ["ValueError: X holds values that are no numbers"] * 2,
}


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_of_one_process_ends_all(name, cases_by_rank):
    for values, expected in zip(cases_by_rank, ERRORS[name], strict=True):
        assert expected in values[name]


@pytest.mark.filterwarnings("ignore")
def test_processes_train_after_an_error(cases_by_rank):
    for values in cases_by_rank:
        assert_same(values["after failures"], CASES["after failures"]())


def test_equal_numbers_of_other_types_are_the_same(cases_by_rank):
    for values in cases_by_rank:
        assert_same(values["equal numbers"], with_own(lr=(0.1, 0.1)))


def test_buffers_of_any_dtype_are_those_of_the_first(cases_by_rank):
    for values in cases_by_rank:
        assert values["buffers"] == [[1] * 3, [True] * 3, [1 + 0j] * 3, [1.0] * 3]


def test_processes_stop_together(cases_by_rank):
    assert [values["callback stops"]["n_epochs"] for values in cases_by_rank] == [2, 2]


@pytest.mark.parametrize("name", ["callback stops", "own weights", "resumed without a seed"])
def test_processes_have_the_same_model(name, cases_by_rank):
    first, second = cases_by_rank
    assert_same(first[name], second[name])


def test_processes_draw_masks_of_their_own(cases_by_rank):
    first, second = cases_by_rank
    assert first["masks"].shape == second["masks"].shape
    assert not np.array_equal(first["masks"], second["masks"])


def test_processes_load_their_share_of_a_dataset(cases_by_rank):
    (n_first, noise, model), (n_second, other_noise, same_model) = (
        values["loaded"] for values in cases_by_rank
    )
    assert (n_first, n_second) == (75, 75), (n_first, len(noise))
    assert set(noise).isdisjoint(other_noise)
    assert_same(model, same_model)


def test_one_process_prints(cases_by_rank):
    first, second = cases_by_rank
    assert "train_loss" in first["printed"]
    assert second["printed"] == ""


def test_only_main_threads_train_together(cases_by_rank):
    together = "several processes train the model together"
    for values in cases_by_rank:
        assert values["who trains"] == together
        assert together not in values["in threads"]


@pytest.mark.filterwarnings("ignore")
def test_workers_of_joblib_train_alone(monkeypatch):
    # A rank's workers inherit its variables; rank 1 is not there, and would be waited for.
    given = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    reasons = joblib.Parallel(n_jobs=2, timeout=100)(joblib.delayed(reason)() for _ in range(2))
    assert "several processes train the model together" not in reasons


def test_the_death_of_a_process_ends_the_others():
    survivor, exit_code = run_ranks(DEATH, AFTER_DEATH)
    assert exit_code == -SIGKILL
    (error, seconds), (next_error, next_seconds) = survivor
    assert "trains this model with rank 0 has died, or can't be reached" in error
    assert "A process of the group has died, and no further model" in next_error
    assert max(seconds, next_seconds) < 60  # torch itself waits for half an hour


def test_one_rank_of_torchrun_is_alone(monkeypatch, iris):
    given = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert TorchClassifier(max_epochs=1).fit(*iris).n_epochs_ == 1
    assert not torch.distributed.is_initialized()


def test_a_number_of_processes_is_asked_for(monkeypatch, iris):
    given = {"RANK": "0", "WORLD_SIZE": "two", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match="WORLD_SIZE is 'two'; expected the number of processes"):
        TorchClassifier(max_epochs=1).fit(*iris)
