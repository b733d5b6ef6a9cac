"""Losses over learning rates: what is drawn is the sweep."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from sktorch.inspection import LearningRateDisplay
from sktorch.model_selection import LearningRateSweep

LRS = np.array([0.01, 0.1, 1.0])
TRAIN = np.array([[2.0, 1.8, 1.7], [1.5, 1.0, 0.8], [3.0, np.nan, np.nan]])
VALID = TRAIN + 0.1
sweep = LearningRateSweep(LRS, TRAIN, VALID, 0.03, "net__lr")


def test_lines_are_the_losses():
    display = LearningRateDisplay.from_sweep(sweep)
    np.testing.assert_array_equal(display.line_.get_xydata(), np.column_stack([LRS, VALID[:, -1]]))
    np.testing.assert_array_equal(display.train_line_.get_ydata(), TRAIN[:, -1])
    for number, line in enumerate(display.earlier_lines_):
        np.testing.assert_array_equal(line.get_ydata(), VALID[:, number])
    assert display.suggestion_line_.get_xdata() == [0.03, 0.03]
    assert (display.ax_.get_xscale(), display.ax_.get_xlabel()) == ("log", "net__lr")


def test_losses_far_above_the_start_are_cut():
    wild = VALID.copy()
    wild[2, 0] = 1e6
    display = LearningRateDisplay(lrs=LRS, train_losses=TRAIN, valid_losses=wild)
    assert display.plot() is display
    assert display.ax_.get_ylim()[1] < 10
    assert display.suggestion_line_ is None


def test_axes_given_and_the_method_of_the_sweep():
    _, ax = plt.subplots()
    assert LearningRateDisplay.from_sweep(sweep, ax=ax).ax_ is ax
    assert sweep.plot(ax) is ax


def test_something_else_than_a_sweep():
    with pytest.raises(TypeError, match="sweep is a list; expected the LearningRateSweep"):
        LearningRateDisplay.from_sweep([1, 2])
