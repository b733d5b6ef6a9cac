"""Names of the neighbours are understood: scikit-learn's, skorch's, Keras's, torch's."""

import numpy as np
import pandas as pd
import pytest
import torch

from sktorch import TorchClassifier, TorchRegressor

X = np.random.default_rng(0).random((30, 4), dtype=np.float32)
y = np.arange(30) % 2

# Names that others use, and that of sktorch.
NAMES = {
    "hidden_layer_sizes": "module__hidden",
    "hidden": "module__hidden",
    "alpha": "optimizer__weight_decay",
    "weight_decay": "optimizer__weight_decay",
    "l2": "optimizer__weight_decay",
    "learning_rate": "lr",
    "learning_rate_init": "lr",
    "lr_init": "lr",
    "max_iter": "max_epochs",
    "epochs": "max_epochs",
    "n_epochs": "max_epochs",
    "num_epochs": "max_epochs",
    "max_epoch": "max_epochs",
    "solver": "optimizer",
    "optim": "optimizer",
    "loss": "criterion",
    "loss_fn": "criterion",
    "criterium": "criterion",
    "patience": "n_iter_no_change",
    "n_iter_no_improvement": "n_iter_no_change",
    "train_split": "validation",
    "validation_split": "validation_fraction",
    "validation_data": "validation",
    "momentum": "optimizer__momentum",
    "activation": "module__activation",
    "dropout": "module__dropout",
    "batch_sizes": "batch_size",
    "batchsize": "batch_size",
    "seed": "random_state",
    "random_seed": "random_state",
    "model": "module",
    "net": "module",
    "metrics": "scoring",
    "scheduler": "lr_schedule",
    "lr_scheduler": "lr_schedule",
    "num_workers": "iterator_train__num_workers",
    "shuffle": "iterator_train__shuffle",
    "gradient_clip_value": "gradient_clip",
    "clip_grad": "gradient_clip",
    "transforms": "augment",
}
# Names of scikit-learn and others for losses and optimizers, in any spelling.
LOSSES = {
    "mae": "L1Loss",
    "MAE": "L1Loss",
    "mean_absolute_error": "L1Loss",
    "absolute_error": "L1Loss",
    "squared_error": "MSELoss",
    "mean_squared_error": "MSELoss",
    "mse_loss": "MSELoss",
    "MSELoss": "MSELoss",
    "nn.MSELoss": "MSELoss",
    "poisson": "PoissonNLLLoss",
    "smooth-l1": "SmoothL1Loss",
}
CLASSIFIER_LOSSES = {
    "log_loss": "CrossEntropyLoss",
    "cross-entropy": "CrossEntropyLoss",
    "crossentropy": "CrossEntropyLoss",
    "categorical_crossentropy": "CrossEntropyLoss",
    "ce": "CrossEntropyLoss",
    "binary_crossentropy": "BCEWithLogitsLoss",
    "bce with logits": "BCEWithLogitsLoss",
}
OPTIMIZERS = {
    "adam": torch.optim.Adam,
    "Adam": torch.optim.Adam,
    "ADAM": torch.optim.Adam,
    " adam ": torch.optim.Adam,
    "adam-w": torch.optim.AdamW,
    "Adam W": torch.optim.AdamW,
    "torch.optim.Adam": torch.optim.Adam,
    "optim.SGD": torch.optim.SGD,
    "rms-prop": torch.optim.RMSprop,
}


@pytest.mark.parametrize(("name", "ours"), NAMES.items(), ids=NAMES.keys())
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_name_of_a_neighbour_leads_to_ours(name, ours, kind):
    with pytest.raises(TypeError, match=repr(ours)):
        kind(**{name: 1})
    with pytest.raises(ValueError, match=repr(ours)):
        kind().set_params(**{name: 1})


@pytest.mark.parametrize("name", ["tolerance", "warmstart", "earlystopping", "callback"])
def test_a_name_that_is_nearly_right_leads_to_ours(name):
    nearly = {
        "tolerance": "tol",
        "warmstart": "warm_start",
        "earlystopping": "early_stopping",
        "callback": "callbacks",
    }
    with pytest.raises(TypeError, match=repr(nearly[name])):
        TorchClassifier(**{name: 1})


def test_a_name_of_nothing_lists_what_there_is():
    with pytest.raises(TypeError, match="max_epochs"):
        TorchClassifier(xyzzy=1)


def taken_or_suggested(make, name, class_name):
    """Whether a name is taken for what it means, or the error leads to it."""
    try:
        fitted = make().fit(X, y)
    except ValueError as error:
        words = str(error).lower().replace("_", "")
        return class_name.lower().removesuffix("loss") in words.split("known names")[0]
    return type(fitted.net_.criterion_).__name__ == class_name


@pytest.mark.parametrize(("name", "class_name"), LOSSES.items(), ids=LOSSES.keys())
def test_a_loss_of_any_name_is_taken_or_suggested(name, class_name):
    assert taken_or_suggested(
        lambda: TorchRegressor(criterion=name, max_epochs=1), name, class_name
    )


@pytest.mark.parametrize(
    ("name", "class_name"), CLASSIFIER_LOSSES.items(), ids=CLASSIFIER_LOSSES.keys()
)
def test_a_loss_of_labels_of_any_name_is_taken_or_suggested(name, class_name):
    assert taken_or_suggested(
        lambda: TorchClassifier(criterion=name, max_epochs=1), name, class_name
    )


@pytest.mark.parametrize(("name", "kind"), OPTIMIZERS.items(), ids=OPTIMIZERS.keys())
def test_an_optimizer_is_taken_however_it_is_spelt(name, kind):
    fitted = TorchClassifier(optimizer=name, max_epochs=1).fit(X, y)
    assert type(fitted.optimizer_) is kind


with_nan = np.where(X > 0.9, np.nan, X)
RAW = {
    "NaN": with_nan,
    "infinity": np.where(X > 0.9, np.inf, X),
    "NaN in a DataFrame": pd.DataFrame(with_nan),
    "None in objects": np.where(X > 0.9, None, X.astype(object)),
    "strings": np.array([["red", "blue"], ["blue", "green"]] * 15),
    "strings in a DataFrame": pd.DataFrame({"colour": ["red", "blue"] * 15, "n": range(30)}),
    "categories": pd.DataFrame({"c": pd.Categorical(["red", "blue"] * 15), "n": range(30)}),
    "dates": pd.DataFrame({"d": pd.date_range("2026-01-01", periods=30), "n": range(30)}),
    "mixed objects": np.array([[1, "a"], [2, "b"]] * 15, dtype=object),
    "NaN in a tensor": torch.from_numpy(with_nan),
    "nullable integers": pd.DataFrame({"a": pd.array([1, None] * 15, dtype="Int64")}),
}


@pytest.mark.parametrize("raw", RAW.values(), ids=RAW.keys())
@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_raw_data_are_led_to_the_cleaner(raw, kind):
    with pytest.raises((ValueError, TypeError), match="make_cleaner"):
        kind(max_epochs=1).fit(raw, y)


@pytest.mark.parametrize("name", ["NaN", "infinity", "NaN in a tensor"])
def test_raw_data_to_predict_are_led_to_the_cleaner(name):
    fitted = TorchClassifier(max_epochs=1).fit(X, y)
    with pytest.raises((ValueError, TypeError), match="make_cleaner"):
        fitted.predict(RAW[name])
