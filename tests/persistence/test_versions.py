"""Files of every version of the format stay readable."""

from pathlib import Path

import numpy as np
import pytest

from sktorch import load

FOLDER = Path(__file__).parent
VERSIONS = [1]


@pytest.mark.parametrize("version", VERSIONS)
def test_files_of_old_versions_are_read(version):
    classifier = load(FOLDER / f"version_{version}_classifier.safetensors")
    regressor = load(FOLDER / f"version_{version}_regressor.safetensors")
    with np.load(FOLDER / f"version_{version}.npz") as expected:
        X = expected["X"]
        # Other machines compute other last bits.
        np.testing.assert_allclose(
            classifier.predict_proba(X), expected["classifier"], rtol=1e-4, atol=1e-6
        )
        np.testing.assert_allclose(regressor.predict(X), expected["regressor"], rtol=1e-4)
    assert [*classifier.classes_] == ["setosa", "versicolor", "virginica"]
    classifier.partial_fit(X, classifier.predict(X))
    regressor.partial_fit(X, regressor.predict(X))
