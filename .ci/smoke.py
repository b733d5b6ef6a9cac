"""Try what a user has after ``pip install sktorch``, without any extra."""

from importlib.metadata import version
from importlib.resources import files
from tempfile import TemporaryDirectory

from sklearn.datasets import load_iris

import sktorch

assert "site-packages" in sktorch.__file__, f"sktorch is imported from {sktorch.__file__}"
assert version("sktorch") == sktorch.__version__
assert files("sktorch").joinpath("py.typed").is_file(), "the wheel lacks py.typed"
sktorch.show_versions()

X, y = load_iris(return_X_y=True)
classifier = sktorch.TorchClassifier(max_epochs=50, random_state=0).fit(X, y)
assert classifier.predict(X).shape == y.shape
assert classifier.score(X, y) > 0.9
with TemporaryDirectory() as folder:
    told = ""
    try:
        sktorch.save(classifier, f"{folder}/iris.safetensors")
    except ImportError as error:
        told = str(error)
    assert "pip install 'sktorch[safe]'" in told, told or "safetensors is there, without its extra"
print("The installed package works.")
