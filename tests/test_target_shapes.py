"""Targets of any shape: pictures, sequences, a label for each pixel."""

# ruff: noqa: PT017 - some may be answered or refused, and what refuses has to say why

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.metrics import r2_score
from sklearn.model_selection import KFold, cross_val_predict, cross_val_score
from torch import nn
from torch.utils.data import TensorDataset

from sktorch import TorchClassifier, TorchRegressor

RNG = np.random.default_rng(0)
N = 40
PICTURES = RNG.random((N, 1, 5, 6), dtype=np.float32)
SEQUENCES = RNG.random((N, 7, 3), dtype=np.float32)


class Pixelwise(nn.Module):
    """Pictures to pictures: a linear function of each pixel."""

    def __init__(self, n_channels=1):
        super().__init__()
        self.output = nn.Conv2d(1, n_channels, 1)

    def forward(self, X):
        return self.output(X)


class Flat(Pixelwise):
    """Pictures to pictures without channels."""

    def forward(self, X):
        return super().forward(X)[:, 0]


class Stepwise(nn.Module):
    def __init__(self, n_outputs=2):
        super().__init__()
        self.output = nn.Linear(3, n_outputs)

    def forward(self, X):
        return self.output(X)


class Last(Stepwise):
    def __init__(self):
        super().__init__(n_outputs=1)

    def forward(self, X):
        return super().forward(X)[..., 0]


# Numbers in a scale of their own, a linear function of what they are learnt from.
NUMBERS = {
    "pictures to pictures": (Pixelwise, PICTURES, 1000 + 50 * PICTURES),
    "pictures to matrices": (Flat, PICTURES, 1000 + 50 * PICTURES[:, 0]),
    "sequences to sequences": (
        Stepwise,
        SEQUENCES,
        np.stack([SEQUENCES.sum(2), 100 - 30 * SEQUENCES[..., 0]], axis=2),
    ),
    "sequences to numbers a step": (Last, SEQUENCES, 7 + SEQUENCES.sum(2)),
}
by_numbers = pytest.mark.parametrize("case", NUMBERS)


def net(module, kind=TorchRegressor, **parameters):
    defaults = {"max_epochs": 150, "lr": 0.05, "batch_size": 40, "random_state": 0}
    return kind(module, **defaults | parameters)


@by_numbers
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numbers_of_any_shape_are_learnt_in_their_scale(case, dtype):
    module, X, y = NUMBERS[case]
    fitted = net(module).fit(X, y.astype(dtype))
    predicted = fitted.predict(X)
    assert predicted.shape == y.shape
    assert np.abs(predicted - y).mean() < 0.2 * np.abs(y - y.mean(0)).mean()


@by_numbers
def test_score_is_r2_over_all_entries(case):
    module, X, y = NUMBERS[case]
    fitted = net(module, max_epochs=5).fit(X, y)
    by_hand = r2_score(y.reshape(N, -1), fitted.predict(X).reshape(N, -1))
    assert fitted.score(X, y) == pytest.approx(by_hand)
    weights = np.arange(N)
    by_hand = r2_score(y.reshape(N, -1), fitted.predict(X).reshape(N, -1), sample_weight=weights)
    assert fitted.score(X, y, sample_weight=weights) == pytest.approx(by_hand)


@by_numbers
def test_targets_that_are_not_scaled_are_learnt_as_a_loop_by_hand_does(case):
    module, X, y = NUMBERS[case]
    y = (y / 100).astype(np.float32)
    settings = {"optimizer": "sgd", "lr": 0.1, "max_epochs": 3, "scale_target": False}
    fitted = net(module, **settings).fit(X, y)
    torch.manual_seed(0)
    by_hand = module()
    optimizer = torch.optim.SGD(by_hand.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        nn.functional.mse_loss(by_hand(torch.from_numpy(X)), torch.from_numpy(y)).backward()
        optimizer.step()
    with torch.no_grad():
        expected = by_hand(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(fitted.predict(X), expected, rtol=1e-4, atol=1e-4)


WAYS = {
    "dataset": lambda X, y: (TensorDataset(torch.from_numpy(X), torch.from_numpy(y)),),
    "tensors": lambda X, y: (torch.from_numpy(X), torch.from_numpy(y)),
    "weights": lambda X, y: (X, y, np.ones(N)),
    "lists": lambda X, y: (X.tolist(), y.tolist()),
}


@by_numbers
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("settings", [{}, {"early_stopping": True}])
def test_numbers_of_any_shape_come_in_any_way(case, way, settings):
    module, X, y = NUMBERS[case]
    y = y.astype(np.float32)
    fitted = net(module, max_epochs=2, **settings).fit(*WAYS[way](X, y))
    assert fitted.predict(X).shape == y.shape


@by_numbers
def test_numbers_of_any_shape_in_a_cross_validation(case):
    module, X, y = NUMBERS[case]
    scores = cross_val_score(net(module), X, y, cv=KFold(2), error_score="raise")
    assert (scores > 0.5).all()
    assert cross_val_predict(clone(net(module, max_epochs=1)), X, y, cv=2).shape == y.shape


class Wide(Pixelwise):
    def forward(self, X):
        return nn.functional.pad(super().forward(X), (0, 1))


# y that does not fit what the module returns, or what was fitted.
UNFIT = {
    "wider than the output": (Wide, PICTURES, PICTURES),
    "a number for pictures": (Pixelwise, PICTURES, PICTURES.mean((1, 2, 3))),
    "matrices for pictures": (Pixelwise, PICTURES, PICTURES[:, 0]),
    "pictures for a number": (None, PICTURES, PICTURES),
    "fewer rows": (Pixelwise, PICTURES, PICTURES[:-1]),
    "NaN": (Pixelwise, PICTURES, np.where(PICTURES > 0.99, np.nan, PICTURES)),
    "infinity": (Pixelwise, PICTURES, np.where(PICTURES > 0.99, np.inf, PICTURES)),
    "words": (Pixelwise, PICTURES, PICTURES.astype(str)),
    "complex": (Pixelwise, PICTURES, PICTURES * 1j),
    "nothing in them": (Pixelwise, PICTURES, PICTURES[:, :, :0]),
    "of several lengths": (
        Stepwise,
        SEQUENCES,
        [s[: 1 + i % 3].tolist() for i, s in enumerate(SEQUENCES)],
    ),
}


@pytest.mark.parametrize("case", UNFIT)
def test_targets_that_do_not_fit_are_named(case):
    module, X, y = UNFIT[case]
    if case == "pictures for a number":
        # Nothing is wrong with MLP's default: it gives one number a pixel, in a row.
        fitted = net(module, max_epochs=1)
        try:
            assert fitted.fit(X, y).predict(X).shape == y.shape
        except ValueError as error:
            assert "y" in str(error).split()
        return
    with pytest.raises(ValueError, match=r"\by\b|target|inconsistent"):
        net(module).fit(X, y)


def test_targets_of_another_shape_than_fitted_are_refused():
    fitted = net(Pixelwise, warm_start=True, max_epochs=1).fit(PICTURES, PICTURES)
    with pytest.raises(ValueError, match=r"\by\b"):
        fitted.fit(PICTURES, PICTURES[:, 0])
    assert fitted.predict(PICTURES).shape == PICTURES.shape


class Segmenting(nn.Module):
    """A logit for each class and pixel: N×K×H×W, as ``nn.CrossEntropyLoss`` wants it."""

    def __init__(self, n_outputs):
        super().__init__()
        self.output = nn.Conv2d(1, n_outputs, 1)

    def forward(self, X):
        return self.output(X)


MASKS = (PICTURES[:, 0] * 3).astype(int)  # 0, 1 and 2
LABELS = {
    "codes": MASKS,
    "other numbers": MASKS * 10 + 5,
    "names": np.array(["sky", "sea", "land"])[MASKS],
    "two classes": (MASKS > 0).astype(int),
    "bool": MASKS > 0,
}


@pytest.mark.parametrize("y", LABELS.values(), ids=LABELS.keys())
def test_a_label_for_each_pixel_is_predicted(y):
    fitted = net(Segmenting, TorchClassifier).fit(PICTURES, y)
    np.testing.assert_array_equal(fitted.classes_, np.unique(y))
    predicted, p = fitted.predict(PICTURES), fitted.predict_proba(PICTURES)
    assert predicted.shape == y.shape
    assert predicted.dtype == y.dtype
    assert p.shape == (*y.shape, len(fitted.classes_))
    np.testing.assert_allclose(p.sum(-1), 1, rtol=1e-5)
    np.testing.assert_array_equal(fitted.classes_[p.argmax(-1)], predicted)
    assert fitted.score(PICTURES, y) == pytest.approx((predicted == y).mean())
    assert fitted.score(PICTURES, y) > 0.7


def test_probabilities_of_pixels_are_those_of_the_module():
    fitted = net(Segmenting, TorchClassifier, max_epochs=3).fit(PICTURES, MASKS)
    with torch.no_grad():
        logits = fitted.module_(torch.from_numpy(PICTURES))
    by_hand = logits.softmax(1).movedim(1, -1).numpy()
    np.testing.assert_allclose(fitted.predict_proba(PICTURES), by_hand, atol=1e-6)


@pytest.mark.parametrize("ignored", [255, -100, -1])
def test_entries_to_ignore_are_no_class_and_are_not_scored(ignored):
    y = np.where(PICTURES[:, 0] > 0.9, ignored, MASKS)
    fitted = net(Segmenting, TorchClassifier, criterion__ignore_index=ignored).fit(PICTURES, y)
    np.testing.assert_array_equal(fitted.classes_, [0, 1, 2])
    predicted = fitted.predict(PICTURES)
    counted = y != ignored
    assert fitted.score(PICTURES, y) == pytest.approx((predicted == y)[counted].mean())


def test_entries_to_ignore_do_not_change_what_is_learnt():
    def weights(y):
        settings = {"criterion__ignore_index": 255, "max_epochs": 3}
        return net(Segmenting, TorchClassifier, **settings).fit(PICTURES, y).predict_proba(PICTURES)

    # Of the pixels that are ignored it does not matter what the picture shows.
    y = np.where(PICTURES[:, 0] > 0.9, 255, MASKS)
    torch.manual_seed(0)
    module = Segmenting(3)
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.05)
    loss = nn.CrossEntropyLoss(ignore_index=255)
    for _ in range(3):
        optimizer.zero_grad()
        loss(module(torch.from_numpy(PICTURES)), torch.from_numpy(y)).backward()
        optimizer.step()
    with torch.no_grad():
        by_hand = module(torch.from_numpy(PICTURES)).softmax(1).movedim(1, -1).numpy()
    np.testing.assert_allclose(weights(y), by_hand, atol=1e-4)


def test_labels_of_pixels_come_in_a_dataset_and_a_cross_validation():
    dataset = TensorDataset(torch.from_numpy(PICTURES), torch.from_numpy(MASKS))
    fitted = net(Segmenting, TorchClassifier, max_epochs=2).fit(dataset)
    assert fitted.predict(dataset).shape == MASKS.shape
    segmenting = net(Segmenting, TorchClassifier)
    assert (
        cross_val_score(segmenting, PICTURES, MASKS, cv=KFold(2), error_score="raise") > 0.6
    ).all()


class Heads(nn.Module):
    def __init__(self):
        super().__init__()
        self.output = nn.Conv2d(1, 3, (2, 1))

    def forward(self, X):
        return self.output(X)


def test_labels_of_pixels_that_the_output_does_not_have_are_named():
    with pytest.raises(ValueError, match=r"\by\b"):
        net(Heads, TorchClassifier).fit(PICTURES, MASKS)
