"""The history of a fit, and the table that ``verbose`` prints."""

import json
import re

import numpy as np
import pytest

from tests.callbacks.shared import net


@pytest.mark.parametrize("early_stopping", [False, True])
def test_history(tumours, early_stopping):
    X, y = tumours
    fitted = net(early_stopping=early_stopping, batch_size=100).fit(X, y)
    history = fitted.history_
    n_train = 512 if early_stopping else 569
    sizes = [100] * (n_train // 100) + [n_train % 100]
    assert len(history) == 5
    assert history[:, "epoch"] == [1, 2, 3, 4, 5]
    for row in history:
        batches = [batch for batch in row["batches"] if "train_loss" in batch]
        assert [batch["train_batch_size"] for batch in batches] == sizes
        mean = np.average([batch["train_loss"] for batch in batches], weights=sizes)
        assert row["train_loss"] == pytest.approx(mean)
        assert row["dur"] > 0
        assert row["train_batch_count"] == len(sizes)
        assert ("valid_loss" in row) == ("valid_acc" in row) == early_stopping
    assert fitted.loss_curve_ == history[:, "train_loss"]
    if early_stopping:
        assert fitted.validation_scores_ == history[:, "valid_acc"]
        assert history[:, "valid_loss"][-1] < history[:, "valid_loss"][0]
        assert set(history[:, "valid_batch_count"]) == {1}
    else:
        assert fitted.validation_scores_ is None
    losses = fitted.loss_curve_
    assert history[:, "train_loss_best"] == [
        loss == min(losses[: epoch + 1]) for epoch, loss in enumerate(losses)
    ]
    json.dumps(list(history))  # Plain numbers.


COLOURS = re.compile(r"\x1b\[\d*m")


@pytest.mark.parametrize("early_stopping", [False, True])
def test_verbose_prints_a_line_an_epoch(tumours, capsys, early_stopping):
    X, y = tumours
    fitted = net(early_stopping=early_stopping, verbose=1).fit(X, y)
    header, rule, *lines = COLOURS.sub("", capsys.readouterr().out).splitlines()
    columns = header.split()
    expected = {"epoch", "train_loss", "dur"}
    if early_stopping:
        expected |= {"valid_loss", "valid_acc"}
    assert expected <= set(columns)
    assert len(columns) == len(rule.split())
    assert len(lines) == fitted.n_epochs_ == 5
    for line, row in zip(lines, fitted.history_, strict=True):
        printed = dict(zip(columns, line.split(), strict=True))
        for name in expected:
            assert float(printed[name]) == pytest.approx(row[name], abs=6e-5)


def test_verbose_prints_in_partial_fit_and_nothing_else_does(tumours, capsys):
    X, y = tumours
    net(verbose=1).partial_fit(X, y, classes=np.unique(y))
    assert len(capsys.readouterr().out.splitlines()) == 3
    net(verbose=0).fit(X, y).predict(X)
    assert capsys.readouterr() == ("", "")
