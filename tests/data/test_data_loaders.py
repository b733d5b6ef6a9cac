"""A DataLoader as X says what to pass instead."""

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from sktorch import TorchClassifier
from sktorch.data import make_loaders, pad_sequences

X, y = torch.rand(40, 4), torch.arange(40) % 2
DATASET = TensorDataset(X, y)


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        ({"batch_size": 10}, "batch_size=10"),
        ({"batch_size": 10, "shuffle": True, "num_workers": 0}, "batch_size=10"),
        (
            {"drop_last": True, "collate_fn": pad_sequences, "pin_memory": False},
            "batch_size=1, iterator_train__collate_fn=<function pad_sequences .*>, "
            "iterator_train__drop_last=True",
        ),
        ({"batch_sampler": [[0, 1], [2, 3]]}, "iterator_train__batch_sampler"),
    ],
)
def test_a_data_loader_is_refused_with_what_to_pass(settings, parameters):
    with pytest.raises(
        TypeError, match=f"X is a DataLoader.*a TensorDataset.*: {parameters}. Rows"
    ):
        TorchClassifier().fit(DataLoader(DATASET, **settings))


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score", "partial_fit"])
def test_a_data_loader_is_refused_by_every_method(method):
    fitted = TorchClassifier(max_epochs=1).fit(DATASET)
    with pytest.raises(TypeError, match="X is a DataLoader; expected the dataset"):
        getattr(fitted, method)(DataLoader(DATASET))


def test_a_data_loader_makes_no_loaders():
    with pytest.raises(TypeError, match="X is a DataLoader; expected the dataset"):
        make_loaders(DataLoader(DATASET))
