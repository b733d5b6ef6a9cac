"""The codec is chosen by y, and by classes that are declared."""

import numpy as np
import pytest
import torch
from scipy import sparse

from sktorch.targets import choice
from sktorch.targets.choice import label_codec
from sktorch.targets.columns import LabelColumns
from sktorch.targets.indicators import Indicators
from sktorch.targets.labels import Labels
from tests.targets.samples import N_ROWS, net


@pytest.mark.parametrize(
    ("Y", "codec", "n_classes"),
    [
        ([0, 1, 0], Labels, 2),
        (["a", "b", "c"], Labels, 3),
        (torch.tensor([[0, 1], [1, 1], [0, 0]]), Indicators, 2),
        ([[0, 1], [1, 1], [0, 0]], Indicators, 2),
        ([[0, 2], [1, 1], [0, 0]], LabelColumns, 2),
        ([[-1, 1], [1, 1], [-1, -1]], LabelColumns, 2),
        ([[0, 7], [7, 7], [0, 0]], LabelColumns, 2),
        ([["a", "b"], ["b", "b"], ["a", "b"]], LabelColumns, 2),
        ([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], Indicators, 2),
        (sparse.eye_array(3), Indicators, 3),
        ([[1, 1], [1, 1], [1, 1]], Indicators, 2),
    ],
)
def test_the_codec_is_chosen_by_the_values_of_y(Y, codec, n_classes):
    assert label_codec(Y) is codec
    checked = codec.check(Y, np.zeros((3, 1)))
    made = codec.of(checked)
    assert len(made.classes) == n_classes
    np.testing.assert_array_equal(made.decode(made.encode(checked)), checked)


@pytest.mark.parametrize("values", [(-1, 1), (0, 7), (1, 2), (3, 4)])
@pytest.mark.parametrize("dtype", [int, float])
def test_two_values_other_than_zero_and_one_are_columns_of_labels(indicators, values, dtype):
    X, Y = indicators
    labels = np.array(values, dtype=dtype)[Y]
    fitted = net(max_epochs=30).fit(X, labels)
    assert [classes.tolist() for classes in fitted.classes_] == [list(values)] * 3
    assert [p.shape for p in fitted.predict_proba(X)] == [(N_ROWS, 2)] * 3
    assert set(np.unique(fitted.predict(X))) == set(values)
    assert fitted.score(X, labels) == (fitted.predict(X) == labels).all(axis=1).mean() > 0.9
    with pytest.raises(ValueError, match="does not learn several columns of labels"):
        net(criterion="multi_label_soft_margin").fit(X, labels)


def test_declared_columns_may_begin_with_zeros_and_ones(digits):
    X, y = digits
    Y = np.column_stack([y % 3, y % 2])
    first = (y % 3) < 2
    parts = net().partial_fit(X[first], Y[first], classes=[[0, 1, 2], [0, 1]])
    assert parts.partial_fit(X, Y).predict_proba(X)[0].shape == (N_ROWS, 3)
    assert parts.partial_fit(X, Y, classes=[[0, 1, 2], [0, 1]]).n_epochs_ == 3


class ReversedLabels(Labels):
    """The codec of labels in a tuple, whose codes count from the last label."""

    @classmethod
    def accepts(cls, y, classes=None):
        return isinstance(y, tuple)

    def encode(self, y):
        return len(self.classes) - 1 - super().encode(y)

    def decode(self, encoded):
        return super().decode(len(self.classes) - 1 - encoded)


def test_a_new_kind_of_labels_needs_one_entry(digits, monkeypatch):
    X, y = digits
    monkeypatch.setattr(choice, "LABEL_CODECS", (ReversedLabels, *choice.LABEL_CODECS))
    fitted = net(max_epochs=20).fit(X, tuple(y.tolist()))
    assert isinstance(fitted.codec_, ReversedLabels)
    assert fitted.score(X, y) > 0.9
    # The first output is that of the last class.
    np.testing.assert_array_equal(fitted.decision_function(X).argmax(1), 9 - fitted.predict(X))
    assert isinstance(net(max_epochs=1).fit(X, y).codec_, Labels)
