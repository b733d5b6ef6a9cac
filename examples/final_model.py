"""
The final model
===============

A net that predicts whether a tumour is malignant is trained, interrupted and resumed, saved,
loaded, and handed to torch.export and ONNX. Each way is checked: the predictions are the same.

``pip install "sktorch[safe,export]" onnxruntime`` installs what this example needs.
"""

# %%
# A net, with checkpoints
# -----------------------
# While it trains, the state of the training is written to a file after every epoch. If the program
# is killed, the same ``fit`` goes on where it was. Here the first fit ends early.
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TorchClassifier

folder = Path(tempfile.mkdtemp())
data = load_breast_cancer()
X, y = data.data.astype("float32"), data.target_names[data.target]
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
scaler = StandardScaler().fit(X_train)
X_train, X_test_scaled = scaler.transform(X_train), scaler.transform(X_test)

recipe = {"lr": 0.01, "n_iter_no_change": 20, "random_state": 0}
checkpoint = folder / "training.checkpoint"
TorchClassifier(**recipe, max_epochs=10, checkpoint=checkpoint).fit(X_train, y_train)
net = TorchClassifier(**recipe, max_epochs=20, checkpoint=checkpoint).fit(X_train, y_train)
straight = TorchClassifier(**recipe, max_epochs=20).fit(X_train, y_train)
expected = net.predict_proba(X_test_scaled)
same = np.array_equal(expected, straight.predict_proba(X_test_scaled))
print(f"Resumed after 10 of 20 epochs, the same bits as without a break: {same}")

# %%
# Save and load
# -------------
# One file of tensors and JSON, from which no code is run. Without the state of the training it is
# about as large as the weights.
import sktorch

path = folder / "net.safetensors"
sktorch.save(net, path, training_state=False)
loaded = sktorch.load(path)
same = np.array_equal(expected, loaded.predict_proba(X_test_scaled))
print(f"Saved in {path.stat().st_size} bytes; loaded, the same bits: {same}")

# %%
# joblib and pickle take anything, pipelines too, and run code of the file when they load it: only
# load what you wrote.
import joblib

pipeline = make_pipeline(scaler, net)
joblib.dump(pipeline, folder / "pipeline.joblib")
same = np.array_equal(expected, joblib.load(folder / "pipeline.joblib").predict_proba(X_test))
print(f"The pipeline in joblib, the same bits: {same}")

# %%
# skops keeps pipelines without code. What it does not know by itself has to be trusted by name,
# once you have looked at the names.
import skops.io

skops.io.dump(pipeline, folder / "pipeline.skops")
untrusted = skops.io.get_untrusted_types(file=folder / "pipeline.skops")
safe = skops.io.load(folder / "pipeline.skops", trusted=untrusted)
same = np.array_equal(expected, safe.predict_proba(X_test))
print(f"The pipeline in skops, which asks about {untrusted}; loaded, the same bits: {same}")

# %%
# A plain module
# --------------
# ``to_module`` returns probabilities, not logits; that of a regressor returns numbers in the scale
# of y. torch.export writes it for programs without sktorch, in C++ too.
import torch

module, rows = net.to_module(), torch.from_numpy(X_test_scaled)
batch = torch.export.Dim("batch")
program = torch.export.export(module, (rows[:2],), dynamic_shapes=({0: batch},))
torch.export.save(program, folder / "net.pt2")
with torch.no_grad():
    exported = torch.export.load(folder / "net.pt2").module()(rows).numpy()
print(f"torch.export, largest difference: {np.abs(exported - expected).max():.0e}")

# %%
# Gradients reach the inputs, as captum and others need them. Which measurement moves the
# probability most, for the average tumour?
rows = rows.clone().requires_grad_()
module(rows)[:, 0].sum().backward()
slopes = rows.grad.abs().mean(dim=0).numpy()
order = np.argsort(slopes)[-10:]
print(f"The measurement that matters most: {data.feature_names[order[-1]]}")

# %%
# The ten largest: how much the probability changes for one standard deviation.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 3.6), layout="constrained")
ax.barh(data.feature_names[order], slopes[order])
ax.set(xlabel="mean slope of the probability")
plt.show()

# %%
# ONNX
# ----
# The net alone, with its classes in the metadata; and the pipeline, which takes the measurements as
# they are and returns labels, too.
import json

import onnxruntime
import skl2onnx

from sktorch.export import onnx, register_converters

onnx(net, folder / "net.onnx")
session = onnxruntime.InferenceSession(folder / "net.onnx")
(probabilities,) = session.run(None, {"X": X_test_scaled})
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
print(f"ONNX, classes {classes}: difference {np.abs(probabilities - expected).max():.0e}")

register_converters()
model = skl2onnx.to_onnx(pipeline, X_test[:1], options={"zipmap": False})
session = onnxruntime.InferenceSession(model.SerializeToString())
labels, _ = session.run(None, {"X": X_test})
print(f"Accuracy of the pipeline in ONNX: {(labels == y_test).mean():.3f}")
