"""What a user may do that no other file's table holds."""

import signal

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.model_selection import GridSearchCV, KFold, cross_val_score
from skorch.callbacks import Callback
from torch import nn

from sktorch import TorchClassifier

QUICK = {"max_epochs": 20, "lr": 0.05, "random_state": 0, "device": "cpu"}


class Interrupted(Callback):
    """Ctrl-C arrives while a callback runs."""

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 2:
            signal.raise_signal(signal.SIGINT)


def test_an_interrupt_inside_a_callback_is_no_wish_of_the_callback(iris):
    X, y = iris
    with pytest.warns(UserWarning, match="interrupted in epoch 2 of 20"):
        classifier = TorchClassifier(callbacks=[Interrupted()], **QUICK).fit(X, y)
    assert classifier.n_epochs_ == 2
    search = GridSearchCV(TorchClassifier(callbacks=[Interrupted()], **QUICK), {"lr": [0.1]})
    with pytest.raises(KeyboardInterrupt):
        search.fit(X, y)


def one_logit():
    return nn.Linear(30, 1).double()


def own_loss(output, target):
    return F.binary_cross_entropy_with_logits(output.squeeze(1), target.double())


def test_a_loss_of_ones_own_on_one_logit(scaled):
    X, y = scaled("breast_cancer")
    own = TorchClassifier(one_logit, criterion=own_loss, **QUICK).fit(X, y)
    known = TorchClassifier(one_logit, criterion=nn.BCEWithLogitsLoss, **QUICK)
    np.testing.assert_allclose(own.predict_proba(X), known.fit(X, y).predict_proba(X))
    assert own.score(X, y) > 0.95


def test_a_class_weight_of_a_class_that_a_fold_lacks(iris):
    X, y = iris
    weighted = TorchClassifier(class_weight={0: 1, 1: 2, 2: 3}, **QUICK)
    scores = cross_val_score(weighted, X, y, cv=KFold(3))  # Each fold lacks the class it tests.
    assert scores.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match=r"class_weight names \[3\]"):
        weighted.set_params(class_weight={0: 1, 1: 2, 3: 3}).fit(X, y)


@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_fit_where_gradients_are_off(iris, context):
    expected = TorchClassifier(**QUICK).fit(*iris)
    with context():
        got = TorchClassifier(**QUICK).fit(*iris)
    assert got.loss_curve_ == expected.loss_curve_


def test_logits_are_no_log_probabilities(iris):
    with pytest.raises(ValueError, match=r"no log-probabilities.*nn\.LogSoftmax"):
        TorchClassifier(criterion=nn.NLLLoss, **QUICK).fit(*iris)


@pytest.mark.parametrize("name", ["shuffle", "drop_last"])
def test_validation_keeps_its_order(iris, name):
    classifier = TorchClassifier(early_stopping=True, **QUICK, **{f"iterator_valid__{name}": True})
    with pytest.raises(ValueError, match=f"iterator_valid can't take .*{name}"):
        classifier.fit(*iris)
