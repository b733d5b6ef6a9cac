"""A fitted cleaner in a file, which needs nobody's trust."""

import numpy as np
import pandas as pd
import pytest
import skops.io

from sktorch._saved_types import KNOWN, adapters_of
from sktorch.persistence import archive
from sktorch.persistence.names import Names
from sktorch.persistence.objects import ObjectDecoder, ObjectEncoder
from sktorch.preprocessing import TableCleaner

X = pd.DataFrame(
    {
        "number": [1.0, 2, 3, np.nan, 1e9, 5, 6, 7],
        "mostly": [0.0] * 7 + [4],
        "gap": [5.0] * 7 + [np.nan],
        "few": [*"abababa", None],
        "many": [*"abcdefgh"],
        "when": ["2020-01-01", None, *["2022-02-02"] * 6],
    }
)


@pytest.mark.parametrize("outliers", ["clip", "flag", "smooth", None])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_cleaner_comes_back_from_plain_values(outliers, dtype):
    fitted = TableCleaner(outliers=outliers, max_one_hot=3, dtype=dtype).fit(X)
    encoder = ObjectEncoder(Names(KNOWN), adapters_of(True), ())
    data = archive.dumps(fitted, "cleaner", encoder)
    assert not encoder.needs_trust()
    tree, tensors = archive.loads("a cleaner", data, "cleaner")
    loaded = ObjectDecoder(tensors, Names(KNOWN), adapters_of(True)).decode(tree)
    pd.testing.assert_frame_equal(loaded.transform(X), fitted.transform(X))


@pytest.mark.parametrize("outliers", ["flag", "smooth"])
def test_skops_trusts_a_cleaner(outliers):
    fitted = TableCleaner(outliers=outliers, max_one_hot=3).fit(X)
    data = skops.io.dumps(fitted)
    assert skops.io.get_untrusted_types(data=data) == []
    loaded = skops.io.loads(data)
    pd.testing.assert_frame_equal(loaded.transform(X), fitted.transform(X))
    assert loaded.report() == fitted.report()
