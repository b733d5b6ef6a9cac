"""How far a call is, in numbers."""

from types import SimpleNamespace

import pytest

from sktorch.fused.progress import Progress


def an_epoch(*losses, number=0, optimizer="adam", n_epochs=1, max_epochs=4):
    model = SimpleNamespace(engine=SimpleNamespace(max_epochs=max_epochs))
    return SimpleNamespace(
        losses=losses, optimizer=optimizer, n_epochs=n_epochs, order=(number,), model=model
    )


class Kept:
    """A display that keeps what it is shown."""

    def __init__(self):
        self.shown, self.last = [], None

    def show(self, share, text):
        self.shown.append((share, text))

    def end(self, text):
        self.last = text


def progress_of(n_tasks):
    progress = Progress(Kept())
    for number in range(n_tasks):
        assert progress.task_submitted(None) == number
    return progress, progress._display


def test_the_share_counts_tasks_and_the_epochs_of_those_under_way():
    progress, kept = progress_of(4)
    progress.epochs_ended([an_epoch(1.0, number=0), an_epoch(1.0, number=1, n_epochs=2)])
    progress.epochs_ended([an_epoch(0.5, number=2, optimizer=None)])  # an evaluation
    progress.task_ended(0, None)
    progress.task_ended(3, None)
    progress.epochs_ended([an_epoch(1.0, number=1, n_epochs=4)])  # a second fit of the task
    shares = [share for share, _ in kept.shown]
    assert shares == [0.1875, 0.1875, 0.375, 0.625, 0.75]


def test_the_number_of_tasks_is_that_of_the_search_where_it_is_known():
    progress, kept = progress_of(0)
    progress.task_submitted(10)
    progress.task_ended(0, None)
    assert kept.shown[-1][0] == 0.1
    assert kept.shown[-1][1].startswith("1 of 10 tasks, ")


@pytest.mark.parametrize(
    ("results", "score"),
    [
        ([{"test_scores": 0.5}, {"test_scores": 0.75}], ", best score 0.75"),
        ([{"test_scores": {"a": 0.5}}], ""),
        ([{"test_scores": float("nan")}], ""),
        ("a model", ""),
    ],
)
def test_the_text(results, score):
    progress, kept = progress_of(2)
    progress.epochs_ended([an_epoch(3.0, 1.0), an_epoch(float("nan"), number=1)])
    progress.epochs_ended([an_epoch(0.1, 0.2, 1.0, 0.5, n_epochs=2)])
    progress.task_ended(0, results)
    parts = f"1 of 2 tasks, 0 s left{score}, lowest training loss 0.75, 1 models in training"
    assert kept.shown[-1][1] == parts
    progress.task_ended(1, None)
    progress.end()
    assert kept.last == f"2 of 2 tasks{score}, lowest training loss 0.75, 0 s"
