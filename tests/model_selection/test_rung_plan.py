import pytest

from sktorch.model_selection._rung_plan import plan_rungs


@pytest.mark.parametrize(
    ("n_candidates", "factor", "min_epochs", "max_epochs", "counts", "epochs"),
    [
        (60, 2, 4, 32, [60, 30, 15, 8], [4, 8, 16, 32]),
        (60, 3, 4, 32, [60, 20, 7], [4, 12, 32]),
        (60, 3, "exhaust", 27, [60, 20, 7, 3], [1, 3, 9, 27]),
        (60, 3, "exhaust", 999, [60, 20, 7, 3], [37, 111, 333, 999]),
        (6, 3, "exhaust", 600, [6, 2], [200, 600]),
        (6, 3, "exhaust", 50, [6, 2], [16, 50]),
        (6, 3, 50, 1000, [6, 2], [50, 1000]),
        (20, 2, 4, 1024, [20, 10, 5, 3, 2], [4, 8, 16, 32, 1024]),
        (20, 2, 4, 31, [20, 10, 5, 3], [4, 8, 16, 31]),
        (20, 2, 4, 4, [20], [4]),
        (20, 3, "max", 10, [20], [10]),
        (1, 3, "exhaust", 10, [1], [10]),
        (60, 3, "exhaust", 1, [60], [1]),
        (9, 1.5, 4, 9, [9, 6, 4], [4, 6, 9]),
    ],
)
def test_the_rungs(n_candidates, factor, min_epochs, max_epochs, counts, epochs):
    plan = plan_rungs(n_candidates, factor, min_epochs, max_epochs)
    assert (plan.n_candidates, plan.n_epochs) == (counts, epochs)


@pytest.mark.parametrize("exact", [(1000, 10), (1024, 2), (243, 3), (125, 5)])
def test_powers_of_the_factor_are_found_exactly(exact):
    n, factor = exact
    assert plan_rungs(n, factor, 1, n).n_candidates[-1] == 1


def test_aggressive_elimination_repeats_the_first_rung():
    plan = plan_rungs(60, 3, 20, 180, aggressive=True)
    assert plan.n_candidates == [60, 20, 7, 3]
    assert plan.n_epochs == [20, 20, 60, 180]
    assert (plan.n_required, plan.n_possible) == (4, 3)


def test_no_rung_has_more_epochs_than_the_last():
    for n_candidates in (1, 2, 7, 100):
        for factor in (1.2, 2, 3, 10):
            for most in range(1, 40):
                for least in ("exhaust", "max", *range(1, most + 1)):
                    plan = plan_rungs(n_candidates, factor, least, most)
                    assert plan.n_epochs == sorted(plan.n_epochs)
                    assert plan.n_epochs[0] >= 1
                    assert plan.n_epochs[-1] == most


@pytest.mark.parametrize("aggressive", [True, False])
def test_a_factor_that_changes_nothing_is_refused(aggressive):
    with pytest.raises(ValueError, match=r"factor=1 makes 4,\d+,\d+ rungs for 60 candidates"):
        plan_rungs(60, 1 + 1e-6, 1, 60, aggressive=aggressive)
