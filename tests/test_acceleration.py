"""Speed's parameters on real digits: they train, leave no trace, and agree."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score
from torch import nn

from sktorch import TorchClassifier

QUICK = {"max_epochs": 15, "lr": 5e-3, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def digits(scaled):
    X, y = scaled("digits")
    return X.astype("float32"), y


@pytest.mark.parametrize(
    "parameters",
    [
        {"precision": "float32"},
        {"precision": "tf32"},
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"compile": {"backend": "eager"}},
        {"gradient_clip": 0.5},
        {"gradient_accumulation": 3},
        {"gradient_accumulation": 3, "early_stopping": True, "precision": "bfloat16"},
        {"data_placement": "source"},
        {"data_placement": "host"},
    ],
    ids=str,
)
def test_every_setting_trains(digits, parameters):
    X, y = digits
    classifier = TorchClassifier(**QUICK, **parameters).fit(X, y)
    assert classifier.score(X, y) > 0.95
    assert classifier.predict_proba(X[:2]).dtype == np.float32
    assert classifier.module_[1].weight.dtype is torch.float32
    assert classifier.eager_reason_ == "the device is cpu, not cuda"


def test_an_eagerly_compiled_module_gives_the_same_model(digits):
    X, y = digits
    plain = TorchClassifier(**QUICK).fit(X, y)
    compiled = TorchClassifier(**QUICK, compile={"backend": "eager"}).fit(X, y)
    np.testing.assert_allclose(plain.loss_curve_, compiled.loss_curve_, rtol=1e-5)
    assert type(compiled.module_) is type(plain.module_), "the module itself, not its wrapper"


def settings_of_torch():
    return {
        "threads": torch.get_num_threads(),
        "flush": (torch.full((), torch.finfo(torch.float32).tiny) / 2).item(),
        "products": torch.get_float32_matmul_precision(),
        "gradients": torch.is_grad_enabled(),
        "dtype": torch.get_default_dtype(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "generator": torch.get_rng_state().tolist(),
    }


class Failing(nn.Linear):
    def forward(self, X):
        if self.training:
            raise RuntimeError("in the middle of training")
        return super().forward(X)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16"])
def test_settings_of_torch_are_left_as_found(digits, precision):
    X, y = digits
    failing = TorchClassifier(Failing(64, 10), **QUICK, precision=precision)
    torch.set_num_threads(2)
    try:
        before = settings_of_torch()
        TorchClassifier(**QUICK | {"max_epochs": 1}, precision=precision).fit(X, y).predict(X)
        assert settings_of_torch() == before
        with pytest.raises(RuntimeError, match="in the middle"):
            failing.fit(X, y)
        assert settings_of_torch() == before
    finally:
        torch.set_num_threads(1)


def with_dropout(n_features, n_outputs):
    return nn.Sequential(
        nn.Linear(n_features, 32), nn.Dropout(0.3), nn.ReLU(), nn.Linear(32, n_outputs)
    )


def test_fits_in_threads_are_the_fits_alone(digits):
    X, y = digits

    def fit(seed):
        settings = QUICK | {"random_state": seed, "max_epochs": 3}
        return TorchClassifier(with_dropout, **settings).fit(X, y).loss_curve_

    alone = [fit(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(fit, range(4))) == alone


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_jobs_do_not_change_the_scores(digits, n_jobs):
    X, y = digits
    scores = cross_val_score(TorchClassifier(**QUICK), X, y, cv=3, n_jobs=n_jobs)
    expected = cross_val_score(TorchClassifier(**QUICK), X, y, cv=3)
    np.testing.assert_array_equal(scores, expected)


def test_a_memory_map_is_never_whole(tmp_path, digits):
    X, y = digits
    np.save(tmp_path / "X.npy", X)
    seen = []

    class Watching(nn.Linear):
        def forward(self, X):
            seen.append(len(X))
            return super().forward(X)

    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    classifier = TorchClassifier(Watching(64, 10), **QUICK | {"max_epochs": 2}).fit(mapped, y)
    assert classifier.data_placement_ == "source"
    assert max(seen) == 128
    np.testing.assert_array_equal(classifier.predict(mapped), classifier.predict(X))
