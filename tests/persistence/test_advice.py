"""Errors of files say what to do, and doing it helps."""

import os

import pandas as pd
import pytest
from torch import nn

from sktorch import load, save
from sktorch.persistence.names import Names
from tests.persistence.test_estimators import X, y
from tests.test_persistence import net


class Outer:
    """A class with a layer in it."""

    class Inner(nn.Linear):
        """A layer."""


INNER = f"{__name__}.Outer.Inner"


def test_nested_classes_are_found(tmp_path):
    save(net(Outer.Inner, module__in_features=4, module__out_features=3), tmp_path / "model")
    with pytest.raises(ValueError, match=r"trusted=\['.*Outer\.Inner'\]"):
        load(tmp_path / "model")
    assert load(tmp_path / "model", trusted=[INNER]).module is Outer.Inner


def test_local_functions_are_handed_over(tmp_path):
    def made(n_features, n_outputs):
        return Outer.Inner(n_features, n_outputs)

    save(net(made).fit(X, y), tmp_path / "model")
    with pytest.raises(ValueError, match=r"load\(path, trusted=\['[^<]*Inner'\], module=\.\.\.\)"):
        load(tmp_path / "model")
    assert load(tmp_path / "model", trusted=[INNER], module=made).module is made


@pytest.mark.parametrize("trusted", ["os.system", 5, [5]])
def test_trusted_is_a_list_of_names(trusted, tmp_path):
    save(net(), tmp_path / "model")
    with pytest.raises(TypeError, match=r"^trusted.*expected names, classes and functions"):
        load(tmp_path / "model", trusted=trusted)


def test_a_path_is_no_number():
    with pytest.raises(TypeError, match="PathLike"):
        load(5)


def test_data_frames_for_validation(tmp_path):
    fitted = net(validation=(pd.DataFrame(X), y)).fit(X, y)
    with pytest.raises(TypeError, match="parameter validation, a tuple of DataFrame, ndarray"):
        save(fitted, tmp_path / "model")
    assert not os.listdir(tmp_path)
    save(fitted.set_params(validation=None), tmp_path / "model")


def test_functional_names_are_public_functions_of_torch():
    names = Names({})
    assert names.name_of(nn.functional.relu) == "torch.nn.functional.relu"
    assert names.knows("torch.nn.functional.gelu")
    for name in ("boolean_dispatch", "_pair", "handle_torch_function", "_add_docstr"):
        assert not names.knows(f"torch.nn.functional.{name}")
