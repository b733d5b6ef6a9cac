"""Arguments of several calls are left out of them, and filled in again."""

import numpy as np

from sktorch.workers.shared import Place, SharedArguments, fill_in


def function(*arguments, **keywords):
    return arguments, keywords


def test_what_several_calls_have_is_left_out_and_comes_back():
    X, y, own = np.zeros((3, 2)), np.ones(3), np.ones(3)
    calls = [(function, (X, 1.5), {"y": y}), (function, [X, own], {"y": y, "X": X})]
    shared = SharedArguments(calls)
    assert [*map(id, shared.values)] == [id(X), id(y)]
    left = [shared.leave_out(call) for call in calls]
    assert left[0] == (function, [Place(0), 1.5], {"y": Place(1)})
    for call, original in zip([fill_in(call, shared.values) for call in left], calls, strict=True):
        (arguments, keywords) = call[0](*call[1], **call[2])
        assert all(a is b for a, b in zip(arguments, original[1], strict=True))
        assert all(keywords[name] is value for name, value in original[2].items())


def test_equal_objects_are_not_taken_for_each_other():
    calls = [(function, [np.zeros(3)], {}), (function, [np.zeros(3)], {})]
    assert SharedArguments(calls).values == ()


def test_calls_that_come_later_share_the_same_objects():
    X = np.zeros(3)
    shared = SharedArguments([(function, [X], {})] * 2)
    later = (function, [X, np.ones(3)], {})
    assert shared.leave_out(later)[1][0] == Place(0)
