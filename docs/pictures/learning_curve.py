"""Draw the losses and the score of the first example, epoch by epoch."""

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from sktorch import TorchClassifier
from sktorch.inspection import LearningCurveDisplay

X, y = load_digits(return_X_y=True)
X_train, X_test, y_train, y_test = train_test_split(X, y, random_state=0)
classifier = TorchClassifier(early_stopping=True, random_state=0).fit(X_train, y_train)

figure, axes = plt.subplots(1, 2, figsize=(8.5, 3), layout="constrained")
LearningCurveDisplay.from_estimator(classifier, ax=axes)
accuracy = classifier.score(X_test, y_test)
figure.suptitle(f"Accuracy on {len(X_test)} new images: {accuracy:.3f}", size="medium")
plt.show()
