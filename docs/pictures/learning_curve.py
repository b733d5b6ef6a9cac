"""Draw the losses and the score of the first example, epoch by epoch."""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sktorch import TorchClassifier

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
classifier = TorchClassifier(early_stopping=True, random_state=0).fit(X_train, y_train)

history, best = classifier.history_, classifier.best_epoch_
epochs = history[:, "epoch"]
figure, (left, right) = plt.subplots(1, 2, figsize=(8.5, 2.8), layout="constrained")
left.semilogy(epochs, history[:, "train_loss"], label="training rows")
left.semilogy(epochs, history[:, "valid_loss"], label="rows held out")
left.set(xlabel="Epoch", ylabel="Cross-entropy")
left.legend()
right.plot(epochs, classifier.validation_scores_, color="tab:orange")
right.plot(best, classifier.validation_scores_[best - 1], "o", color="tab:orange")
right.annotate(
    f"best: epoch {best}, whose weights are kept\n"
    f"on {len(X_test)} new images: {classifier.score(X_test, y_test):.3f}",
    (best, classifier.validation_scores_[best - 1]),
    xytext=(0.97, 0.08),
    textcoords="axes fraction",
    ha="right",
    arrowprops={"arrowstyle": "-", "color": "grey"},
)
right.set(xlabel="Epoch", ylabel="Accuracy on rows held out")
plt.show()
