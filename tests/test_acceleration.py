"""Speed's parameters on real digits: they train, leave no trace, and agree."""

import pickle
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from skorch.callbacks import Callback
from torch import nn

from sktorch import TorchClassifier

QUICK = {"max_epochs": 15, "lr": 5e-3, "random_state": 0, "device": "cpu"}


@pytest.fixture(scope="module")
def digits(scaled):
    X, y = scaled("digits")
    return X.astype("float32"), y


@pytest.mark.parametrize(
    ("parameters", "reason"),
    [
        ({"precision": "float32"}, None),
        ({"precision": "tf32"}, None),
        ({"precision": "bfloat16"}, None),
        ({"precision": "float16"}, "float16 needs a gradient scaler, which waits for the device"),
        ({"compile": {"backend": "eager"}}, "the module is compiled"),
        ({"gradient_clip": 0.5}, None),
        ({"gradient_accumulation": 3}, None),
        ({"gradient_accumulation": 3, "early_stopping": True, "precision": "bfloat16"}, None),
        ({"data_placement": "source"}, None),
        ({"data_placement": "host"}, None),
    ],
    ids=str,
)
def test_every_setting_trains(digits, parameters, reason):
    X, y = digits
    classifier = TorchClassifier(**QUICK | parameters).fit(X, y)
    assert classifier.score(X, y) > 0.95
    assert classifier.predict_proba(X[:2]).dtype == np.float32
    assert classifier.module_[1].weight.dtype is torch.float32
    assert classifier.eager_reason_ == reason


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


BRIEF = QUICK | {"max_epochs": 2}


def same_models(one, other):
    one, other = one.module_.state_dict(), other.module_.state_dict()
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def in_float64(n_features, n_outputs):
    return nn.Linear(n_features, n_outputs, dtype=torch.float64)


@pytest.mark.parametrize("precision", ["float32", "tf32", "bfloat16", "float16"])
@pytest.mark.parametrize("module", [with_dropout, in_float64])
def test_answers_are_in_the_dtype_of_the_module(digits, module, precision):
    X, y = digits
    classifier = TorchClassifier(module, **BRIEF, precision=precision).fit(X, y)
    dtype = next(classifier.module_.parameters()).dtype
    assert dtype is (torch.float64 if module is in_float64 else torch.float32)
    answers = [classifier.predict_proba(X), classifier.decision_function(X)]
    answers.append(classifier.predict_log_proba(X))
    assert {str(answer.dtype) for answer in answers} == {str(dtype).removeprefix("torch.")}
    np.testing.assert_allclose(answers[0].sum(1), 1, rtol=1e-5)
    assert all(parameter.dtype is dtype for parameter in classifier.module_.parameters())
    state = [*classifier.optimizer_.state.values()]
    assert {x.dtype for values in state for x in values.values() if x.ndim} == {dtype}


def test_half_precision_changes_the_answers_a_little(digits):
    X, y = digits
    exact = TorchClassifier(**BRIEF).fit(X, y).predict_proba(X)
    for precision in ("bfloat16", "float16"):
        rounded = TorchClassifier(**BRIEF, precision=precision).fit(X, y).predict_proba(X)
        assert 1e-6 < np.abs(rounded - exact).max() < 0.1


@pytest.mark.parametrize(
    "parameters",
    [
        {"gradient_clip": 0.05},
        {"gradient_accumulation": 3},
        {"precision": "bfloat16"},
        {"batch_size": 64},
    ],
    ids=str,
)
def test_settings_are_heeded(digits, parameters):
    """A model that is the same as without the setting would show that nobody read it."""
    X, y = digits
    assert not same_models(
        TorchClassifier(**BRIEF).fit(X, y), TorchClassifier(**BRIEF, **parameters).fit(X, y)
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"gradient_clip": 1e6},
        {"gradient_clip": np.float32(np.inf)},
        {"gradient_accumulation": np.int64(1)},
        {"data_placement": "host"},
        {"data_placement": "source"},
        {"data_placement": "device"},
        {"compile": np.False_},
    ],
    ids=str,
)
def test_settings_that_ask_for_nothing_change_nothing(digits, parameters):
    X, y = digits
    plain = TorchClassifier(**BRIEF).fit(X, y)
    assert same_models(plain, TorchClassifier(**BRIEF, **parameters).fit(X, y))


def test_accumulated_batches_are_larger_batches(digits):
    """A linear model of 1,792 rows, a multiple of both sizes, without shuffling."""
    X, y = digits[0][:1792], digits[1][:1792]

    def fit(**parameters):
        return TorchClassifier(
            in_float64,
            **BRIEF,
            optimizer=torch.optim.SGD,
            iterator_train__shuffle=False,
            **parameters,
        ).fit(X, y)

    expected, got = fit(batch_size=128), fit(batch_size=32, gradient_accumulation=4)
    torch.testing.assert_close(got.module_.weight, expected.module_.weight)
    assert got.history_[0, "train_batch_count"] == 56, "the history has the batches that were cut"
    assert expected.history_[0, "train_batch_count"] == 14
    assert got.loss_curve_ == pytest.approx(expected.loss_curve_)


def test_an_optimizer_with_a_closure_does_not_accumulate(digits):
    """LBFGS asks for gradients itself, batch by batch: the parameter is refused, not ignored."""
    classifier = TorchClassifier(
        **BRIEF, optimizer=torch.optim.LBFGS, batch_size=600, gradient_accumulation=2
    )
    with pytest.raises(ValueError, match="gradient_accumulation"):
        classifier.fit(*digits)


def test_reasons_are_there_after_a_training_that_a_callback_ends_at_once(digits):
    class AtOnce(Callback):
        def on_batch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    classifier = TorchClassifier(**BRIEF, callbacks=[AtOnce()]).fit(*digits)
    assert classifier.data_placement_ == "device"
    assert classifier.eager_reason_ == "callbacks look at each batch"


def test_fits_of_one_architecture_are_compiled_once(digits):
    X, y = digits
    torch.compiler.reset()
    compilations = []

    def backend(graph, example):
        compilations.append(graph)
        return graph.forward

    counts = []
    for seed in range(10):  # More often than torch compiles one function: its limit is 8.
        settings = BRIEF | {"random_state": seed, "max_epochs": 1}
        TorchClassifier(with_dropout, **settings, compile={"backend": backend}).fit(X, y)
        counts.append(len(compilations))
    assert counts[0] <= 2, "full batches, and the shorter last one"
    assert counts == [counts[0]] * 10


def test_a_compiled_estimator_is_cloned_pickled_and_goes_on(digits):
    X, y = digits
    classifier = TorchClassifier(**BRIEF, compile={"backend": "eager"}).fit(X, y)
    expected = classifier.predict_proba(X)
    again = pickle.loads(pickle.dumps(classifier))
    np.testing.assert_array_equal(again.predict_proba(X), expected)
    assert same_models(clone(classifier).fit(X, y), classifier)
    for model in (classifier, again):
        model.partial_fit(X, y)
    assert same_models(classifier, again)
    assert again.n_epochs_ == 3


class Refusing(nn.Linear):
    def forward(self, X):
        if X.abs().max() > 1e5:
            raise ValueError("in the middle of a prediction")
        return super().forward(X)


@pytest.mark.parametrize("precision", ["float32", "tf32", "float16"])
def test_settings_of_torch_are_left_as_found_by_predictions(digits, precision):
    X, y = digits
    classifier = TorchClassifier(Refusing(64, 10), **BRIEF, precision=precision).fit(X, y)
    torch.set_num_threads(2)
    torch.set_flush_denormal(True)
    try:
        before = settings_of_torch()
        classifier.predict(X)
        classifier.predict_proba(X)
        assert settings_of_torch() == before
        with pytest.raises(ValueError, match="in the middle"):
            classifier.predict(1e6 * X)
        assert settings_of_torch() == before
        classifier.partial_fit(X, y)
        assert settings_of_torch() == before, "a mode that was on stays on"
    finally:
        torch.set_num_threads(1)
        torch.set_flush_denormal(False)


@pytest.mark.parametrize("compile", [False, {"backend": "eager"}])
@pytest.mark.parametrize("precision", ["tf32", "bfloat16", "float16"])
def test_fits_in_threads_in_every_precision(digits, precision, compile):
    X, y = digits

    def fit(seed):
        settings = BRIEF | {"random_state": seed, "precision": precision, "compile": compile}
        model = TorchClassifier(with_dropout, **settings).fit(X, y)
        return model.loss_curve_, model.predict_proba(X).tolist()

    alone = [fit(seed) for seed in range(3)]
    before = settings_of_torch()
    with ThreadPoolExecutor(3) as pool:
        assert [*pool.map(fit, range(3))] == alone
    assert settings_of_torch() == before


@pytest.mark.parametrize("placement", ["auto", "device", "host"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_memory_map_is_read_batch_by_batch(tmp_path, digits, dtype, placement):
    """numpy reports what it allocates: never more than a few batches of a 12 to 24 MB file."""
    X, y = np.repeat(digits[0], 27, axis=0).astype(dtype), np.repeat(digits[1], 27)
    path, n_bytes = tmp_path / "X.npy", X.nbytes
    np.save(path, X)
    seen = []

    class Watching(nn.Linear):
        def forward(self, X):
            seen.append(X.shape)
            return super().forward(X)

    classifier = TorchClassifier(
        Watching(64, 10), **BRIEF | {"max_epochs": 1}, batch_size=512, data_placement=placement
    )
    del X
    mapped = np.load(path, mmap_mode="r")
    tracemalloc.start()
    try:
        classifier.fit(mapped, y)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert classifier.data_placement_ == "source"
    assert max(shape[0] for shape in seen) == 512
    assert sum(shape[0] for shape in seen) >= len(y)
    assert peak < n_bytes / 4 + 8 * len(y) * 8, "a quarter of X, and copies of the labels"
