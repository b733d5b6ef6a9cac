"""Warnings point at the line of the user's."""

import pytest

from sktorch._warnings import warn_caller


@pytest.mark.parametrize("between", [[], ["sktorch._net"], ["sklearn.base", "contextlib"]])
def test_code_in_between_is_passed_over(between):
    function = warn_through(between)
    with pytest.warns(UserWarning, match="told") as warned:
        function()
    assert [warning.filename for warning in warned] == [__file__]


def warn_through(names):
    """Return a function that warns through functions of modules of these names."""
    namespace = {"__name__": "sktorch._job", "warn_caller": warn_caller}
    exec("def call():\n    warn_caller('told')", namespace)
    for name in names:
        namespace = {"__name__": name, "called": namespace["call"]}
        exec("def call():\n    called()", namespace)
    return namespace["call"]
