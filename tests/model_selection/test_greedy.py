"""Greedy weights against the recipe written out, ties, failures, and clear errors."""

import numpy as np
import pytest

from sktorch.model_selection._greedy import greedy_weights

RNG = np.random.default_rng(0)
Y = RNG.normal(size=200)
NOISY = Y + RNG.normal(size=(8, 200)) * np.linspace(0.5, 2, 8)[:, np.newaxis]


def squared_error(averages):
    return np.square(averages - Y).mean(axis=1)


def written_out(predictions, loss, max_members):
    """Return Caruana's weights by a plain loop."""
    members, found = [], []
    for _ in range(max_members):
        losses = [
            loss(predictions[[*members, c]].mean(0)[None])[0] for c in range(len(predictions))
        ]
        members.append(int(np.argmin(losses)))
        found.append(min(losses))
    best = members[: int(np.argmin(found)) + 1]
    return np.bincount(best, minlength=len(predictions)) / len(best)


@pytest.mark.parametrize("max_members", [1, 2, 7, 50])
def test_weights_are_those_of_the_recipe(max_members):
    weights = greedy_weights(NOISY, squared_error, max_members)
    np.testing.assert_allclose(weights, written_out(NOISY, squared_error, max_members))
    assert weights.sum() == pytest.approx(1)


def test_the_average_is_better_than_the_best_candidate():
    weights = greedy_weights(NOISY, squared_error)
    assert squared_error((weights @ NOISY)[np.newaxis]) < squared_error(NOISY).min()


def test_an_exact_candidate_stays_alone():
    weights = greedy_weights(np.stack([Y + 1, Y, Y - 2]), squared_error)
    assert weights.tolist() == [0, 1, 0]


def test_of_equal_candidates_the_first_is_chosen():
    weights = greedy_weights(np.stack([Y + 1, Y, Y, Y]), squared_error)
    assert weights.tolist() == [0, 1, 0, 0]


@pytest.mark.parametrize("hole", [np.nan, np.inf, -np.inf])
def test_candidates_that_are_not_finite_are_left_out(hole):
    broken = NOISY.copy()
    broken[0, 17] = hole
    weights = greedy_weights(broken, squared_error)
    assert weights[0] == 0
    np.testing.assert_array_equal(weights[1:], greedy_weights(NOISY[1:], squared_error))


def test_predictions_may_have_further_dimensions():
    outputs = np.stack([NOISY, NOISY], axis=2)
    weights = greedy_weights(outputs, lambda averages: squared_error(averages[..., 0]))
    np.testing.assert_array_equal(weights, greedy_weights(NOISY, squared_error))


def test_a_loss_that_is_not_a_number_is_not_the_lowest():
    def loss(averages):
        losses = squared_error(averages)
        losses[0] = np.nan
        return losses

    assert greedy_weights(NOISY, loss)[0] == 0


@pytest.mark.parametrize(
    ("predictions", "loss", "message"),
    [
        (np.full((3, 200), np.nan), squared_error, "None of 3 candidates has finite predictions"),
        (NOISY, lambda averages: np.full(8, np.nan), "None of 8 candidates has a finite score"),
    ],
    ids=["predictions", "losses"],
)
def test_with_nothing_to_choose_from_it_is_told(predictions, loss, message):
    with pytest.raises(ValueError, match=message):
        greedy_weights(predictions, loss)
