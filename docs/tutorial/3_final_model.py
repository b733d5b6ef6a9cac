"""
3. The final model
==================

Learning rate, width and weight decay are not learnt by gradients: they are tried. The best ones
train the final model, which is judged once, saved, and used.
"""

# %%
# The data of :doc:`part 1 <1_data>`, still as text and numbers. Cross-validation takes the place of
# the rows to validate on, so that only the test rows are set aside.
import pandas as pd
import torch
from sklearn.model_selection import train_test_split
from torch import nn

table = pd.read_csv("penguins-raw.csv").dropna(subset="Sex")
columns = [
    *("Species", "Island", "Clutch Completion", "Date Egg"),
    *("Culmen Length (mm)", "Culmen Depth (mm)", "Flipper Length (mm)", "Body Mass (g)"),
    *("Delta 15 N (o/oo)", "Delta 13 C (o/oo)"),
]
X, y = table[columns], table["Sex"]
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.2, stratify=y, random_state=0)


class Net(nn.Module):
    def __init__(self, n_features, n_outputs, width=32):
        super().__init__()
        self.hidden = nn.Linear(n_features, width)
        self.output = nn.Linear(width, n_outputs)

    def forward(self, X):
        return self.output(self.hidden(X).relu())


# %%
# Hyper-parameters
# ----------------
#
# .. rst-class:: by-hand
#
# By hand it is three loops around the recipe: for each setting and each fold, clean the fold's
# training rows, train a net, and judge it on the fold's other rows.
from itertools import product

import numpy as np
from sklearn.model_selection import StratifiedKFold
from torch.utils.data import DataLoader, TensorDataset

from sktorch.preprocessing import make_cleaner

torch.set_num_threads(1)
labels = sorted(y_train.unique())
codes = np.array([labels.index(label) for label in y_train])


def train(X, codes, lr, width, seed=0):
    cleaner = make_cleaner().fit(X)
    A = torch.tensor(cleaner.transform(X).to_numpy("float32"))
    torch.manual_seed(seed)
    net = Net(A.shape[1], len(labels), width)
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, fused=True)
    loader = DataLoader(TensorDataset(A, torch.tensor(codes)), batch_size=32, shuffle=True)
    for _ in range(30):
        for X_batch, y_batch in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X_batch), y_batch).backward()
            optimizer.step()
    return cleaner, net.eval()


def predict(cleaner, net, X):
    with torch.no_grad():
        return net(torch.tensor(cleaner.transform(X).to_numpy("float32"))).argmax(1).numpy()


folds = list(StratifiedKFold(5).split(X_train, y_train))
by_hand = {}
for lr, width in product([0.001, 0.003, 0.01], [8, 32]):
    scores = []
    for rows, others in folds:
        model = train(X_train.iloc[rows], codes[rows], lr, width)
        scores.append(np.mean(predict(*model, X_train.iloc[others]) == codes[others]))
    by_hand[lr, width] = np.mean(scores)
    print(f"lr {lr:5}, width {width:2}: {by_hand[lr, width]:.4f}")

# %%
# .. rst-class:: by-sktorch
#
# With sktorch the net is an estimator, so scikit-learn's own search does it. Cleaner and net are a
# pipeline: each fold is cleaned by its own training rows. Under the backend "sktorch" the thirty
# nets train as one program, each to the net that it would become alone. ``n_iter_no_change=30``
# turns early ends off, as the loop by hand has none.
import joblib
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from sktorch import TorchClassifier

net = TorchClassifier(Net, batch_size=32, max_epochs=30, n_iter_no_change=30, random_state=0)
pipeline = make_pipeline(make_cleaner(), net)
grid = {
    "torchclassifier__lr": [0.001, 0.003, 0.01],
    "torchclassifier__module__width": [8, 32],
}
search = GridSearchCV(pipeline, grid, cv=5)
with joblib.parallel_config("sktorch"):
    search.fit(X_train, y_train)
print(search.best_params_, f"{search.best_score_:.4f}")

# %%
# The two tables agree.
difference = search.cv_results_["mean_test_score"] - np.array([*by_hand.values()])
print(f"Largest difference between the scores: {abs(difference).max():.4f}")

# %%
# The final model
# ---------------
#
# .. rst-class:: by-hand
#
# The best setting trains once more, on all rows but those of the test.
lr, width = max(by_hand, key=by_hand.get)
cleaner, final = train(X_train, codes, lr, width)
predicted = np.array(labels)[predict(cleaner, final, X_test)]
print(f"Accuracy on the test rows: {np.mean(predicted == y_test):.3f}")

# %%
# .. rst-class:: by-sktorch
#
# With sktorch the search has done so already.
print(f"Accuracy on the test rows: {search.score(X_test, y_test):.3f}")

# %%
# Where the net is wrong: a row is what a bird is, a column what the net says.
import matplotlib.pyplot as plt
from sklearn.metrics import ConfusionMatrixDisplay

figure, axes = plt.subplots(figsize=(4, 3.2), layout="constrained")
ConfusionMatrixDisplay.from_estimator(search, X_test, y_test, ax=axes, cmap="Blues", colorbar=False)
plt.show()

# %%
# Save
# ----
#
# .. rst-class:: by-hand
#
# By hand the file holds weights. Whoever loads it needs the class, its sizes, the labels, and the
# statistics of the cleaner besides.
import tempfile
from pathlib import Path

folder = Path(tempfile.mkdtemp())
torch.save(final.state_dict(), folder / "penguins.pt")
again = Net(final.hidden.in_features, len(labels), width)
again.load_state_dict(torch.load(folder / "penguins.pt", weights_only=True))
same = np.array_equal(predict(cleaner, again.eval(), X_test), predict(cleaner, final, X_test))
print(f"The same predictions: {same}")

# %%
# .. rst-class:: by-sktorch
#
# With sktorch the whole pipeline is kept, cleaner and labels included, in a file from which no code
# is run. Your own class is trusted by its name. ``pip install "sktorch[safe]"`` brings skops.
import skops.io

skops.io.dump(search.best_estimator_, folder / "penguins.skops")
trusted = skops.io.get_untrusted_types(file=folder / "penguins.skops")
model = skops.io.load(folder / "penguins.skops", trusted=trusted)
print(f"Trusted: {trusted}")

# %%
# Use
# ---
# The model takes raw rows, as they come, with what is missing in them.
birds = X_test.head(4).copy()
birds.iloc[0, 4:6] = None
result = pd.DataFrame(model.predict_proba(birds).round(3), columns=model.classes_)
result["predicted"], result["true"] = model.predict(birds), y_test.head(4).to_numpy()
result

# %%
# :doc:`/final_model` has further ways: checkpoints, ``torch.export``, ONNX, MLflow.
