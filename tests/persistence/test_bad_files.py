"""Files with any damage, by accident or by intent: a clear error or a model, and no code is run.

`SKTORCH_FUZZ=10000 pytest tests/persistence/test_bad_files.py` tries as many files.
"""

import copy
import json
import os
import random
import resource
import sys
import time

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes

from sktorch import TorchClassifier, load, save
from sktorch.persistence.archive import checksum
from tests.persistence.test_archive import nested
from tests.persistence.test_estimators import X, y
from tests.test_persistence import Dropping, net

N_FILES = int(os.environ.get("SKTORCH_FUZZ", "300"))
MAX_SECONDS = 20  # of the processor, for a file of 30 kB on the slowest machine
MAX_BYTES = 2**30  # more than before
KIB = 1 if sys.platform == "darwin" else 1024

# Values that may take the place of any other.
ODD = [
    *(None, True, 0, -1, 2**62, -(2**63), 10**30, 1e308, "", "a", "../../etc/passwd", [], {}),
    *({"$": "again", "of": 0}, {"$": "again", "of": 10**6}, {"$": "tensor", "in": "nothing"}),
    *({"$": "tuple", "of": []}, {"$": "int", "of": "0x" + "f" * 10_000}, {"$": "float", "of": 0}),
    *({"$": "range", "of": [0, 2**60]}, {"$": "set", "of": [[1]]}, {"$": "dict", "of": [[{}, 1]]}),
    {"$": "array", "dtype": "<U99999999", "shape": [2**40], "of": []},
    {"$": "array", "shape": [2**50], "of": [1]},
    {"$": "scalar", "dtype": "|O", "of": "AAAAAAAAAAA="},
    {"$": "tensor", "in": "module_.1.weight", "shape": [2**40], "stride": [0]},
    {"$": "tensor", "in": "module_.1.weight", "device": "cuda:99"},
    {"$": "tensor", "in": "module_.1.weight", "device": "meta"},
    {"$": "partial", "of": [{"$": "name", "of": "torch.nn.Linear"}, [2**40, 2**40], {}]},
    {"$": "object", "type": "torch.nn.Linear", "state": {"_parameters": None}},
    {"$": "object", "type": "sktorch.net.ClassifierNet", "args": [1, 2]},
    {"$": "object", "type": "numpy.random.RandomState", "state": []},
    {"$": "object", "type": "torch.nn.UninitializedParameter", "args": [2**40]},
    {"$": "object", "type": "skorch.History", "state": [[2**50, {}]]},
]
CODE = [
    *("os.system", "builtins.eval", "builtins.exec", "torch.load", "torch.hub.load"),
    *("subprocess.Popen", "pickle.loads", "torch.jit.load", "torch.nn.functional.os"),
    *("torch.nn.modules.module.torch.load", "skorch.callbacks.Checkpoint", "torch.from_file"),
    *("sktorch.persistence.names.imported", "torch.nn.modules.lazy.warnings.warn"),
]
ODD += [{"$": "name", "of": name} for name in CODE]
ODD += [{"$": "object", "type": name, "args": ["touch ran"], "state": {}} for name in CODE]
ODD += [{"$": "partial", "of": [{"$": "name", "of": name}, ["touch ran"], {}]} for name in CODE]


def cut(data, rng):
    return data[: rng.randrange(len(data))]


def flipped(data, rng):
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 5, 50])):
        changed[rng.randrange(len(data))] = rng.randrange(256)
    return bytes(changed)


def moved(data, rng):
    start, end = sorted(rng.randrange(len(data)) for _ in range(2))
    return data[:start] + data[end:] + data[start:end] * rng.choice([0, 1, 2])


def header_changed(data, rng):
    length = rng.choice([0, 1, 7, 2**31, 2**62, 2**64 - 1, rng.randrange(len(data))])
    return length.to_bytes(8, "little") + data[8:]


def parts_of(data, tmp_path):
    path = tmp_path / "parts"
    path.write_bytes(data)
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    return metadata, load_file(path)


def forged(metadata, tensors, tree):
    """Return a file with a checksum that holds."""
    text = tree if isinstance(tree, str) else json.dumps(tree)
    metadata = metadata | {"content": text}
    return as_bytes(tensors, metadata | {"checksum": checksum(metadata, tensors)})


def places(node):
    """Yield each container of a tree, with each key in it."""
    items = node.items() if isinstance(node, dict) else enumerate(node)
    for key, value in items:
        yield node, key
        if isinstance(value, dict | list):
            yield from places(value)


def tree_changed(metadata, tensors, rng):
    tree = json.loads(metadata["content"])
    for _ in range(rng.choice([1, 1, 3])):
        node, key = rng.choice([*places(tree)])
        match rng.choice(["odd", "swap", "gone", "deep", "again"]):
            case "odd":
                node[key] = copy.deepcopy(rng.choice(ODD))
            case "swap":
                other, other_key = rng.choice([*places(tree)])
                node[key] = copy.deepcopy(other[other_key])
            case "gone":
                del node[key]
            case "deep":
                node[key] = nested(rng.choice([100, 250]))
            case "again":
                node[key] = {"$": "again", "of": rng.randrange(60)}
    return forged(metadata, tensors, tree)


def text_changed(metadata, tensors, rng):
    text = [*metadata["content"]]
    for _ in range(rng.choice([1, 3])):
        text[rng.randrange(len(text))] = rng.choice('{}[]",:019-eE\\ntrufals $')
    return forged(metadata, tensors, "".join(text))


def bomb(metadata, tensors, rng):
    text = rng.choice(["[" * 10**6, '{"a":' * 10**5, "[[],[]," * 10**5, "1" * 10**6, "[1e999]"])
    return forged(metadata, tensors, text)


def tensors_changed(metadata, tensors, rng):
    tensors = dict(tensors)
    name = rng.choice([*tensors])
    match rng.choice(["gone", "shape", "dtype", "empty", "swap"]):
        case "gone":
            del tensors[name]
        case "shape":
            tensors[name] = tensors[name].reshape(-1)[None, None]
        case "dtype":
            tensors[name] = tensors[name].to(rng.choice([torch.int8, torch.float64, torch.bool]))
        case "empty":
            tensors[name] = torch.zeros(0)
        case "swap":
            tensors[name] = tensors[rng.choice([*tensors])].clone()
    return forged(metadata, tensors, metadata["content"])


BY_ACCIDENT = [cut, flipped, moved, header_changed]
BY_INTENT = [tree_changed, tree_changed, tree_changed, text_changed, tensors_changed, bomb]


@pytest.fixture
def no_code(monkeypatch, tmp_path):
    """Let whatever a file could make Python call be found out."""
    monkeypatch.chdir(tmp_path)
    called = []
    audited = {"os.system", "subprocess.Popen", "exec", "pickle.find_class", "shutil.rmtree"}
    active = [True]

    def hook(event, args):
        if active[0] and event in audited and not (event == "exec" and loading_module(args)):
            called.append(event)

    sys.addaudithook(hook)
    yield called
    active[0] = False
    assert not (tmp_path / "ran").exists()


def loading_module(args):
    return getattr(args[0], "co_name", "") == "<module>"


def loaded_or_error(path):
    try:
        return load(path), None
    except ValueError as error:
        return None, str(error)


def test_bad_files(tmp_path, no_code):
    fitted = net(module__hidden=(8,), early_stopping=True).fit(X, y)
    expected = fitted.predict_proba(X)
    path = tmp_path / "model"
    save(fitted, path)
    data = path.read_bytes()
    metadata, tensors = parts_of(data, tmp_path)
    load(path)
    no_code.clear()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    loaded = 0
    for number in range(N_FILES):
        rng = random.Random(number)
        by_intent = rng.random() < 0.6
        if by_intent:
            changed = rng.choice(BY_INTENT)(metadata, tensors, rng)
        else:
            changed = rng.choice(BY_ACCIDENT)(data, rng)
        path.write_bytes(changed)
        start = time.process_time()
        other, error = loaded_or_error(path)
        if error is not None:
            assert str(path) in error, number
            assert len(error) < 2000, number
        else:
            loaded += 1
            assert isinstance(other, TorchClassifier), number
            if not by_intent:  # The checksum finds all that happens by accident.
                np.testing.assert_array_equal(other.predict_proba(X), expected, f"{number}")
        assert time.process_time() - start < MAX_SECONDS, number
        assert not no_code, (number, no_code)
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert used * KIB < MAX_BYTES
    assert 0 < loaded < N_FILES / 2


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("where", ["module", "callbacks", "net_"])
def test_code_in_a_file_is_never_called(name, where, tmp_path, no_code):
    save(net().fit(X, y), tmp_path / "model")
    metadata, tensors = parts_of((tmp_path / "model").read_bytes(), tmp_path)
    for evil in (node for node in ODD if f'"{name}"' in json.dumps(node)):
        tree = json.loads(metadata["content"])
        tree["estimator"]["state"][where] = evil
        (tmp_path / "model").write_bytes(forged(metadata, tensors, tree))
        with pytest.raises(ValueError, match=f"needs {name}, which are neither"):
            load(tmp_path / "model")
    assert not no_code


ARRAY = {"$": "array", "dtype": "|u1", "shape": [2**20], "of": {"$": "tensor", "in": "large"}}
FLAGS = {"$": "array", "id": 10**6, "of": {"$": "tensor", "in": "large"}}
COPIES = {
    "arrays": ([ARRAY] * 800, "more than one array"),
    "tensors again": (
        [
            {"$": "tensor", "id": 10**6, "in": "large"},
            *[ARRAY | {"of": {"$": "again", "of": 10**6}}] * 800,
        ],
        "of kind 'tensor'",
    ),
    "columns": (
        [FLAGS, *[{"$": "column", "code": "b", "of": {"$": "again", "of": 10**6}}] * 800],
        "of kind 'array'",
    ),
    "histories": (
        [
            {"$": "object", "type": "skorch.History", "state": [[2**20, {"a": column}]]}
            for column in [FLAGS, *[{"$": "again", "of": 10**6}] * 800]
        ],
        "comes twice",
    ),
}


@pytest.mark.parametrize("name", COPIES)
def test_a_file_bounds_the_memory_that_it_takes(name, tmp_path):
    evil, message = COPIES[name]
    save(net(max_epochs=1).fit(X, y), tmp_path / "model")
    metadata, tensors = parts_of((tmp_path / "model").read_bytes(), tmp_path)
    tree = json.loads(metadata["content"])
    tree["estimator"]["state"]["lr"] = evil
    tensors["large"] = torch.zeros(2**20, dtype=torch.bool if name == "histories" else torch.uint8)
    (tmp_path / "model").write_bytes(forged(metadata, tensors, tree))
    with pytest.raises(ValueError, match=f"is damaged.*{message}"):
        load(tmp_path / "model")


def test_no_path_of_a_file_is_used(tmp_path):
    save(net(Dropping).fit(X, y), tmp_path / "model")
    metadata, tensors = parts_of((tmp_path / "model").read_bytes(), tmp_path)
    tensors["../../climbed"] = torch.zeros(1)
    (tmp_path / "model").write_bytes(forged(metadata, tensors, metadata["content"]))
    load(tmp_path / "model", module=Dropping)
    assert {path.name for path in tmp_path.iterdir()} == {"model", "parts"}
    assert not [*tmp_path.parent.glob("climbed*")]
