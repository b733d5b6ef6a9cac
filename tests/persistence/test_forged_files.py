"""Files made by somebody who knows the format run no code either."""

import json
import random

import numpy as np
import pytest
import skops.io
import torch
from safetensors.torch import save as as_bytes

from sktorch import TorchClassifier, load
from sktorch import _skops as support
from sktorch._private.skops import register
from sktorch.persistence.archive import checksum
from tests.persistence.test_skops import X, y

# A call of it leaves a trace.
SEED = {"$": "name", "of": "random.seed"}
CALL = {"$": "partial", "of": [SEED, {"$": "tuple", "of": [12345]}, {}]}


def file_of(tree, **tensors):
    """The bytes of a file with a checksum that holds."""
    tensors = tensors or {"t": torch.zeros(1)}
    metadata = {"format": "sktorch", "version": "1", "kind": "estimator"}
    metadata["content"] = json.dumps(tree)
    metadata["checksum"] = checksum(metadata, tensors)
    return as_bytes(tensors, metadata)


def calling(**state):
    """A file whose object calls a function that the file brings, if its attributes are called."""
    node = {"$": "object", "type": "torch.nn.Identity", "state": {**state}, "items": [1]}
    return file_of({"estimator": node})


def archive_inside(inner, uses):
    """A file with the state that an estimator has in an archive of skops."""
    array = {"$": "array", "of": {"$": "tensor", "in": "a"}}
    node = {
        "$": "object",
        "type": "sktorch.TorchClassifier",
        "state": {"archive": array, "uses": uses},
    }
    return file_of({"estimator": node}, a=torch.from_numpy(np.frombuffer(inner, np.uint8).copy()))


@pytest.fixture
def untouched():
    """Check that nothing called the function."""
    random.seed(0)
    before = random.getstate()
    yield
    assert random.getstate() == before


FORGED = {
    "an attribute in place of a method": calling(extend=CALL),
    "a file in a file": archive_inside(calling(extend=CALL), ["random.seed"]),
    "a file in a file that trusts nothing": archive_inside(calling(), []),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_file_is_refused(name, tmp_path, untouched):
    path = tmp_path / "forged.safetensors"
    path.write_bytes(FORGED[name])
    with pytest.raises(ValueError, match=r"damaged|random\.seed"):
        load(path)


def test_no_attribute_is_called_even_if_its_function_is_trusted(tmp_path, untouched):
    path = tmp_path / "forged.safetensors"
    path.write_bytes(FORGED["an attribute in place of a method"])
    with pytest.raises(ValueError, match="damaged"):
        load(path, trusted=["random.seed"])


def test_skops_is_told_nothing_by_texts(untouched):
    fitted = TorchClassifier(max_epochs=1).fit(X, y)
    data = np.frombuffer(FORGED["an attribute in place of a method"], np.uint8)

    def forged(estimator):
        return "sktorch.TorchClassifier", {"archive": data, "uses": ["random.seed"]}

    register(TorchClassifier, forged, [])
    try:
        archive = skops.io.dumps(fitted)
    finally:
        register(TorchClassifier, support._name_and_state, [])
    assert skops.io.get_untrusted_types(data=archive) == []
    with pytest.raises(ValueError, match="damaged"):
        skops.io.loads(archive)
