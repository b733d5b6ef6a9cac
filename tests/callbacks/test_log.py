"""What ``verbose`` prints of an epoch."""

import re

import pytest
from skorch.callbacks import PrintLog

from sktorch._callbacks import EpochLog, are_plain, prints_or_writes
from tests.callbacks.shared import net


def printed(tumours, capsys, **parameters):
    """Return the lines of a fit, without colours, each as its words."""
    fitted = net(verbose=1, **parameters).fit(*tumours)
    text = re.sub(r"\x1b\[\d+m", "", capsys.readouterr().out)
    return fitted, [line.split() for line in text.splitlines()]


@pytest.mark.parametrize("lr", [1e-2, 1e-4, 3e-7, 1.0])
def test_learning_rates_of_any_size_can_be_read(tumours, capsys, lr):
    fitted, (names, _, *rows) = printed(tumours, capsys, lr=lr, lr_schedule="cosine")
    column = names.index("lr")
    found = [float(row[column]) for row in rows]
    assert found == pytest.approx(fitted.history_[:, "lr"], rel=1e-3)
    assert {len(row[column]) for row in rows} == {9}, "one below the other"
    losses = [float(row[names.index("train_loss")]) for row in rows]
    assert losses == pytest.approx(fitted.loss_curve_, abs=1e-4)


def test_without_a_schedule_no_learning_rate(tumours, capsys):
    _, (names, *_) = printed(tumours, capsys)
    assert names == ["epoch", "train_loss", "dur"]


def test_a_format_of_the_users_is_obeyed(tumours, capsys):
    given = {"lr_schedule": "cosine", "callbacks__print_log__floatfmt": ".2f"}
    _, (names, _, *rows) = printed(tumours, capsys, **given)
    assert {row[names.index("lr")] for row in rows} <= {"0.00", "0.01", "0.02"}


def test_lines_are_otherwise_those_of_skorch():
    row = {"epoch": 3, "train_loss": 0.5, "train_loss_best": True, "dur": 0.25}
    assert EpochLog().initialize().table(row) == PrintLog().initialize().table(row)


@pytest.mark.parametrize("kind", [EpochLog, PrintLog])
def test_it_prints_and_draws_no_random_numbers(kind):
    assert prints_or_writes(kind())
    assert are_plain([("print_log", kind())])
