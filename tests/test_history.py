"""The history is read, written and saved as skorch's is, and takes few bytes a batch."""

import copy
import json
import pickle
import tracemalloc

import numpy as np
import pytest
from skorch.callbacks import BatchScoring, EpochScoring, EpochTimer, PassthroughScoring, PrintLog
from skorch.history import History

from sktorch import TorchClassifier, TorchRegressor
from sktorch._history import compact, extended

RNG = np.random.default_rng(0)
X = RNG.random((60, 4), dtype=np.float32)
y = np.arange(60) % 2


def rows():
    """Return batches as skorch keeps them: rows of several keys and kinds of values."""
    train = [{"train_loss": 0.5 * number, "train_batch_size": 2} for number in range(4)]
    return [*train, {}, {"valid_loss": float("inf"), "name": "x"}, {"large": 2**70, "flag": True}]


def write(row, **values):
    row.update(values)
    return row


def write_each(batches):
    for number, row in enumerate(batches):
        row["mine"] = number


def write_held_rows(batches):
    first, *others = batches[:3]
    batches.insert(0, {"new": 1})  # The rows held have moved.
    first["a"] = 1
    others[1]["b"] = 2
    batches[1]["c"] = 3


def write_a_row_held_twice(batches):
    one, other = batches[0], batches[0]
    one["a"] = 1
    other["b"] = 2
    return other


READS = {
    "len": len,
    "bool": bool,
    "list": list,
    "tuple": tuple,
    "unpacked": lambda batches: [*batches],
    "reversed": lambda batches: [*reversed(batches)],
    "repr": repr,
    "json": json.dumps,
    "indented json": lambda batches: json.dumps(batches, indent=1),
    "first": lambda batches: batches[0],
    "last": lambda batches: batches[-1],
    "index of numpy": lambda batches: batches[np.int64(2)],
    "slice": lambda batches: batches[1:3],
    "slice from the end": lambda batches: batches[-2:],
    "every other one backwards": lambda batches: batches[::-2],
    "empty slice": lambda batches: batches[9:],
    "value": lambda batches: batches[1]["train_loss"],
    "kinds of values": lambda batches: [[*map(type, row.values())] for row in batches],
    "get": lambda batches: batches[1].get("nothing", 3),
    "missing key": lambda batches: batches[1]["nothing"],
    "out of range": lambda batches: batches[7],
    "out of range backwards": lambda batches: batches[-8],
    "in": lambda batches: {"train_loss": 0.5, "train_batch_size": 2} in batches,
    "not in": lambda batches: {"train_loss": 9.5} in batches,
    "count": lambda batches: batches.count({}),
    "index": lambda batches: batches.index({}),
    "sum": lambda batches: batches + [{"a": 1}],  # noqa: RUF005
    "sum from the left": lambda batches: [{"a": 1}] + batches,  # noqa: RUF005
    "product": lambda batches: batches * 2,
    "product from the left": lambda batches: 2 * batches,
    "copy": lambda batches: batches.copy(),
    "copied": copy.copy,
    "copied deeply": copy.deepcopy,
    "equal": lambda batches: batches == rows(),
    "equal from the left": lambda batches: rows() == batches,
    "unequal": lambda batches: batches != rows(),
    "equal to others": lambda batches: batches == [],
    "pickled": lambda batches: pickle.loads(pickle.dumps(batches)),
    "row pickled": lambda batches: pickle.loads(pickle.dumps(batches[0])),
    "row copied": lambda batches: write(batches[0].copy(), a=1),
    "row copied deeply": lambda batches: write(copy.deepcopy(batches[0]), a=1),
    "rows are dicts": lambda batches: all(isinstance(row, dict) for row in batches),
}
CHANGES = {
    "append": lambda batches: batches.append({"a": 1}),
    "extend": lambda batches: batches.extend([{"a": 1}]),
    "insert": lambda batches: batches.insert(1, {"a": 1}),
    "remove": lambda batches: batches.remove({}),
    "pop": lambda batches: batches.pop(),
    "pop first": lambda batches: batches.pop(0),
    "clear": lambda batches: batches.clear(),
    "sort": lambda batches: batches.sort(key=len),
    "reverse": lambda batches: batches.reverse(),
    "set": lambda batches: batches.__setitem__(0, {"a": 1}),
    "set slice": lambda batches: batches.__setitem__(slice(2), []),
    "delete": lambda batches: batches.__delitem__(0),
    "grow": lambda batches: batches.__iadd__([{"a": 1}]),
    "repeat": lambda batches: batches.__imul__(2),
    "write": lambda batches: batches[0].__setitem__("a", 1),
    "write last": lambda batches: batches[-1].__setitem__("a", 1),
    "delete key": lambda batches: batches[0].__delitem__("train_loss"),
    "update row": lambda batches: write(batches[2], a=1),
    "merge": lambda batches: batches[0].__ior__({"a": 1}),
    "setdefault": lambda batches: batches[0].setdefault("a", 1),
    "pop key": lambda batches: batches[0].pop("train_loss"),
    "pop item": lambda batches: batches[0].popitem(),
    "clear row": lambda batches: batches[0].clear(),
    "write to a copy": lambda batches: write(copy.copy(batches)[0], a=1),
    "write to a deep copy": lambda batches: write(copy.deepcopy(batches)[0], a=1),
    "write each": write_each,
    "write rows of a list": lambda batches: write_each([*batches]),
    "write rows held": write_held_rows,
    "write a row held twice": write_a_row_held_twice,
    "update by an iterator": lambda batches: write(
        batches[0], **dict(zip("ab", "cd", strict=True))
    ),
    "write twice": lambda batches: write(write(batches[0], a=1), b=2),
}


def answer(function, batches):
    try:
        return function(batches)
    except Exception as error:
        return type(error), str(error)


@pytest.mark.parametrize("name", READS)
def test_batches_are_read_as_a_list(name):
    plain, columns = rows(), compact(rows())
    assert answer(READS[name], columns) == answer(READS[name], plain)
    assert columns == plain
    assert len([*list.__iter__(columns)]) == 0, "it holds dicts now"


@pytest.mark.parametrize("name", CHANGES)
def test_batches_are_changed_as_a_list(name):
    plain, columns = rows(), compact(rows())
    assert answer(CHANGES[name], columns) == answer(CHANGES[name], plain)
    assert columns == plain
    assert [*columns] == plain
    assert pickle.loads(pickle.dumps(columns)) == copy.deepcopy(columns) == plain
    assert compact(columns) == plain


def test_batches_are_extended_by_columns():
    columns = extended(rows()[:2], "valid", [1.0, 2.0], [3, 4])
    further = [
        {"valid_loss": 1.0, "valid_batch_size": 3},
        {"valid_loss": 2.0, "valid_batch_size": 4},
    ]
    assert columns == rows()[:2] + further
    assert extended([], "valid", [1.0, 2.0], [3, 4]) == further
    assert compact(columns) is columns
    assert compact([]) == []


class Listening(EpochTimer):
    """Writes numbers to batches while they come."""

    def on_batch_end(self, net, training=True, **_):
        net.history.record_batch("mine", 1.0 * training)


@pytest.mark.parametrize("callbacks", [None, [Listening()]], ids=["unobserved", "observed"])
def test_a_history_takes_few_bytes_a_batch(callbacks):
    many = RNG.random((600, 1), dtype=np.float32)
    labels = np.arange(600) % 2
    fitted = net(batch_size=1, max_epochs=2, callbacks=callbacks, module__hidden=())
    history = fitted.fit(many, labels).history_
    tracemalloc.start()
    try:
        held = copy.deepcopy(history)
        n_bytes, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    n_batches = sum(map(len, held[:, "batches"]))
    assert n_batches == 2 * 600
    assert n_bytes < 40 * n_batches


def test_scores_of_batches_are_gathered():
    callbacks = [
        PassthroughScoring("train_loss", on_train=True),
        ("scored", BatchScoring("accuracy", name="scored", on_train=True)),
    ]
    history = net(max_epochs=2, batch_size=20, callbacks=callbacks).fit(X, y).history_
    assert [*map(len, history[:, "batches", :, "scored"])] == [3, 3]
    means = np.mean(history[:, "batches", :, "scored"], axis=1)
    np.testing.assert_allclose(history[:, "scored"], means)


def test_a_score_passes_through_from_batches_to_the_epoch():
    passed = PassthroughScoring("valid_loss")
    fitted = net(max_epochs=2, validation=(X, y), callbacks=[passed]).fit(X, y)
    history = fitted.history_
    sizes = history[0, "batches", :, "valid_batch_size"]
    means = [np.average(losses, weights=sizes) for losses in history[:, "batches", :, "valid_loss"]]
    np.testing.assert_allclose(history[:, "valid_loss"], means)
    fitted.net_.history.record_batch("mine", 1)
    assert history[-1, "batches", -1, "mine"] == 1


def net(**parameters):
    defaults = {"batch_size": 2, "tol": -np.inf, "random_state": 0}
    return TorchClassifier(**defaults | parameters)


@pytest.fixture(scope="module")
def history():
    callbacks = [EpochScoring("accuracy", name="own", lower_is_better=False)]
    fitted = net(max_epochs=3, validation=(X[:10], y[:10]), callbacks=callbacks, verbose=0)
    return fitted.fit(X, y).history_


def test_a_history_is_read_as_skorch_s_is(history):
    assert isinstance(history, History)
    assert len(history) == 3
    assert history[:, "epoch"] == [1, 2, 3]
    assert len(history[-1, "batches"]) == 30 + 5  # those of validation after those of training
    losses = history[:, "batches", :, "train_loss"]
    assert np.shape(losses) == (3, 30)
    assert all(type(loss) is float for loss in losses[0])
    assert history[-1, "batches", 29, "train_loss"] == losses[-1][-1]
    assert history[-1, "batches", -1, "valid_loss"] > 0
    assert history[-1, "batches", 0, ("train_loss", "train_batch_size")] == (losses[-1][0], 2)
    sizes = history[0, "batches", :, "train_batch_size"]
    assert sizes == [2] * 30
    assert len(history[0, "batches", -5:, "valid_loss"]) == 5
    assert history[0]["batches"][3]["train_loss"] == losses[0][3]
    assert {*history[0]["batches"][0]} == {"train_loss", "train_batch_size"}
    assert {*history[0]["batches"][-1]} == {"valid_loss", "valid_batch_size"}
    assert [batch["train_loss"] for batch in history[1, "batches"][:30]] == losses[1]
    mean = np.average(losses[2], weights=sizes)
    assert history[2, "train_loss"] == pytest.approx(mean)
    with pytest.raises(KeyError):
        history[0, "batches", :, "nothing"]
    with pytest.raises(IndexError):
        history[0, "batches", 99]


def test_a_history_is_listed_saved_and_loaded(history, tmp_path):
    rows = history.to_list()
    assert rows[1]["batches"][2]["train_loss"] == history[1, "batches", 2, "train_loss"]
    history.to_file(str(tmp_path / "history.json"))
    loaded = History.from_file(str(tmp_path / "history.json"))
    assert loaded[:, "batches", :, "train_loss"] == history[:, "batches", :, "train_loss"]
    json.dumps(rows)
    other = pickle.loads(pickle.dumps(history))
    assert (
        other[:, "batches", :, "train_batch_size"] == history[:, "batches", :, "train_batch_size"]
    )


def test_a_history_grows_by_its_user(history):
    copy = pickle.loads(pickle.dumps(history))
    copy.new_epoch()
    copy.record("mine", 1)
    copy.new_batch()
    copy.record_batch("mine", 2)
    assert copy[-1, "mine"] == 1
    assert copy[-1, "batches", -1, "mine"] == 2


class Reading(EpochTimer):
    """Reads and writes batches while they come."""

    def on_batch_end(self, net, training=True, **_):
        if training:
            assert net.history[-1, "batches", -1, "train_loss"] > 0
            net.history.record_batch("mine", len(net.history[-1, "batches"]))


@pytest.mark.parametrize("kind", [TorchClassifier, TorchRegressor])
def test_a_callback_reads_and_writes_batches(kind):
    fitted = kind(max_epochs=2, batch_size=20, callbacks=[Reading(), PrintLog(sink=str)]).fit(X, y)
    assert fitted.history_[:, "batches", :, "mine"] == [[1, 2, 3]] * 2
