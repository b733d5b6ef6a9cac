"""Candidates are compared over folds, with all that have reported by then."""

from types import SimpleNamespace

import pytest

from sktorch._private.search_tasks import SearchTask
from sktorch.fused.pruner import Contestant, Pruner, Report, Tally, judge
from sktorch.fused.pruning_rules import HalvingRule, MedianRule

WORST = float("-inf")


def reports_of(pruner, epoch, scores, measure="valid_acc"):
    """Reports of {(candidate, fold): score}."""
    return [
        Report(pruner, measure, epoch, candidate, fold, score)
        for (candidate, fold), score in scores.items()
    ]


def stopped(reports):
    judge(reports)
    return {(report.candidate, report.fold) for report in reports if report.stops}


def end(pruner, epoch, candidate, score, fold=0, pruned=False):
    task = SearchTask(candidate, fold, 9, 1, None)
    pruner.note_end("valid_acc", epoch, task, score, pruned=pruned)


@pytest.mark.parametrize("order", [1, -1])
def test_a_candidate_is_judged_by_its_mean_over_folds(order):
    pruner = Pruner(MedianRule(), Tally())
    scores = {(0, 0): 0.9, (0, 1): 0.1, (1, 0): 0.6, (1, 1): 0.6, (2, 0): 0.5, (2, 1): 0.9}
    assert stopped(reports_of(pruner, 4, scores)[::order]) == {(0, 0), (0, 1)}


def test_candidates_are_compared_on_the_folds_that_both_have():
    pruner = Pruner(MedianRule(), Tally())
    first = {(0, 0): 0.9, (0, 1): 0.2, (1, 0): 0.8, (1, 1): 0.1}
    assert stopped(reports_of(pruner, 4, first)) == {(1, 0), (1, 1)}
    # The mean of candidate 0 is 0.55, but on fold 0 it has more.
    assert stopped(reports_of(pruner, 4, {(2, 0): 0.7})) == {(2, 0)}
    assert stopped(reports_of(pruner, 4, {(2, 1): 1.0})) == {(2, 1)}, "a stopped one stays so"
    assert stopped(reports_of(pruner, 4, {(3, 0): 0.95})) == set()


@pytest.mark.parametrize(("rule", "expected"), [(MedianRule(), set()), (HalvingRule(2, 2), {2})])
def test_candidates_stopped_before(rule, expected):
    pruner = Pruner(rule, Tally())
    scores = {(candidate, 0): candidate / 10 for candidate in range(4)}
    assert stopped(reports_of(pruner, 4, scores)) == {(0, 0), (1, 0)}
    for candidate in range(2):
        end(pruner, 4, candidate, candidate / 10, pruned=True)
    later = reports_of(pruner, 8, {(2, 0): 0.5, (3, 0): 0.6})
    assert {candidate for candidate, _ in stopped(later)} == expected
    assert (pruner.tally.n_fits, pruner.tally.n_pruned) == (2, 2)


def test_a_fit_that_ended_by_itself_counts_with_its_best_score():
    pruner = Pruner(HalvingRule(4, 2), Tally())
    end(pruner, 6, 0, 0.9)
    assert stopped(reports_of(pruner, 4, {(1, 0): 0.5})) == set(), "it had not ended by then"
    assert stopped(reports_of(pruner, 8, {(1, 0): 0.5})) == {(1, 0)}


def test_scores_of_different_measures_are_not_compared():
    pruner = Pruner(MedianRule(), Tally())
    reports = reports_of(pruner, 4, {(0, 0): 0.1}) + reports_of(pruner, 4, {(1, 0): 0.9}, "loss")
    assert stopped(reports) == set()


def test_searches_that_meet_are_judged_apart():
    one, other = Pruner(MedianRule(), Tally()), Pruner(MedianRule(), Tally())
    reports = reports_of(one, 4, {(0, 0): 0.1}) + reports_of(other, 4, {(1, 0): 0.9})
    assert stopped(reports) == set()


def test_a_candidate_without_a_number_as_score_falls_behind():
    pruner = Pruner(MedianRule(), Tally())
    scores = {(0, 0): WORST, (1, 0): 0.2, (2, 0): 0.3}
    assert stopped(reports_of(pruner, 4, scores)) == {(0, 0)}


def test_the_fit_that_is_compared_is_the_candidates_own():
    net, inner = object(), object()
    pipeline = SimpleNamespace(steps=[("a", inner), ("b", SimpleNamespace(steps=[("c", net)]))])
    for candidate in (net, pipeline):
        contestant = Contestant(None, SearchTask(0, 0, 2, 1, candidate), None)
        assert contestant.is_of(net)
        assert not contestant.is_of(inner)


@pytest.mark.parametrize(
    ("tally", "lines"),
    [
        (Tally(9), []),
        (Tally(9, 4), ["4 of 9 fits were pruned"]),
        (Tally(9, 4, 2), ["4 of 9 fits were pruned", "2 of 9 fits could not be pruned"]),
    ],
)
def test_what_a_call_tells(tally, lines):
    told = [*tally.lines()]
    assert len(told) == len(lines)
    assert all(line.startswith(start) for line, start in zip(told, lines, strict=True))
