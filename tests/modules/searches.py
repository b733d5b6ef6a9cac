"""A search that compares modules trained stacked with themselves alone."""

import joblib
import numpy as np
from sklearn.model_selection import cross_val_predict

from sktorch import TorchClassifier
from sktorch.fused import trial


def check_stacked_as_alone(module, parameters, data, monkeypatch):
    """Assert that folds have the same probabilities under the backend, which prints what it does.

    A fit alone replays its recorded steps.
    """
    for limit in ("MAX_TIME_RATIO", "MAX_ALONE_SECONDS"):  # No test depends on time.
        monkeypatch.setattr(trial, limit, float("inf"))
    X, y = np.asarray(data[0], np.float32), data[1]
    net = TorchClassifier(module, max_epochs=20, lr=0.01, batch_size=32, random_state=0)
    net.set_params(**parameters)
    assert net.fit(X, y).eager_reason_ is None

    def probabilities():
        return cross_val_predict(net, X, y, method="predict_proba", verbose=1)

    alone = probabilities()
    with joblib.parallel_config("sktorch"):
        together = probabilities()
    np.testing.assert_allclose(together, alone, atol=1e-4)
