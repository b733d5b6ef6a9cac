import math

import pytest

from sktorch.fused.pruning_rules import HalvingRule, MedianRule, rule_of


@pytest.mark.parametrize(
    ("rule", "epochs"),
    [
        (MedianRule(), [4, 8, 16, 32]),
        (MedianRule(warm_up=1), [1, 2, 4, 8, 16, 32]),
        (MedianRule(warm_up=3), [3, 6, 12, 24]),
        (HalvingRule(), [4, 12, 36]),
        (HalvingRule(min_epochs=1, factor=2), [1, 2, 4, 8, 16, 32]),
        (HalvingRule(min_epochs=5, factor=4), [5, 20]),
    ],
)
def test_the_epochs_at_which_candidates_are_compared(rule, epochs):
    assert [epoch for epoch in range(1, 40) if rule.judges(epoch)] == epochs


@pytest.mark.parametrize(
    ("scores", "stopped", "go_on"),
    [
        ([0.5, 0.6, 0.7, 0.8], [], [0.7, 0.8]),
        ([0.5, 0.6, 0.7], [], [0.6, 0.7]),
        ([0.5], [], [0.5]),
        ([0.5, 0.5, 0.5], [], [0.5, 0.5, 0.5]),
        ([0.7, 0.8], [0.1, 0.2], [0.7, 0.8]),
        ([-math.inf, 0.2, 0.3], [], [0.2, 0.3]),
        ([-math.inf, -math.inf], [], [-math.inf, -math.inf]),
    ],
)
def test_the_median(scores, stopped, go_on):
    assert [s for s in scores if not MedianRule().stops(s, scores, stopped)] == go_on


@pytest.mark.parametrize(
    ("factor", "scores", "go_on"),
    [
        (2, [0.5, 0.6, 0.7, 0.8], [0.7, 0.8]),
        (3, [0.5, 0.6, 0.7, 0.8], [0.7, 0.8]),
        (4, [0.5, 0.6, 0.7, 0.8], [0.8]),
        (3, [0.5], [0.5]),
        (3, [0.5, 0.8, 0.8], [0.8, 0.8]),  # both are as good as the last that goes on
        (2, [-math.inf, 0.1], [0.1]),
    ],
)
def test_halving(factor, scores, go_on):
    rule = HalvingRule(factor=factor)
    assert [s for s in scores if not rule.stops(s, scores, [])] == go_on


class Never:
    def judges(self, epoch):
        return False

    def stops(self, score, scores, stopped):
        return False


def test_rules_by_name_and_of_ones_own():
    assert rule_of(None) is None
    assert rule_of("median") == MedianRule()
    assert rule_of("halving") == HalvingRule()
    own = Never()
    assert rule_of(own) is own


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: rule_of("middle"), ValueError, "median"),
        (lambda: rule_of(True), TypeError, "prune=True must be None, 'median', 'halving'"),
        (lambda: rule_of(MedianRule), TypeError, "must be None"),
        (lambda: MedianRule(warm_up=0), ValueError, "warm_up=0 must be a whole number"),
        (lambda: HalvingRule(min_epochs=1.5), ValueError, "min_epochs=1.5 must be"),
        (lambda: HalvingRule(factor=1), ValueError, "factor=1 must be .* at least 2"),
        (lambda: HalvingRule(factor=True), ValueError, "factor=True must be"),
    ],
)
def test_wrong_rules(make, error, message):
    with pytest.raises(error, match=message):
        make()
