"""
Scores of tables
================

How good predictions for raw tables are, and figures of several sets as text.
"""

import numpy as np
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold

# Each measure, and whether more of it is better.
MEASURES = {
    "accuracy": True,
    "log-loss": False,
    "AUC": True,
    "R²": True,
    "seconds of CPU a fit": False,
}
SECONDS = "seconds of CPU a fit"


def classification_scores(model, X, y):
    """Accuracy, log-loss and AUC, of each class against the rest if there are several."""
    probabilities, classes = model.predict_proba(X), model.classes_
    if len(classes) == 2:
        auc = roc_auc_score(y == classes[1], probabilities[:, 1])
    else:
        probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
        auc = roc_auc_score(y, probabilities, multi_class="ovr", labels=classes)
    return {
        "accuracy": accuracy_score(y, classes[probabilities.argmax(axis=1)]),
        "log-loss": log_loss(y, probabilities, labels=classes),
        "AUC": auc,
    }


def regression_scores(model, X, y):
    """The share of the variance that is predicted."""
    return {"R²": r2_score(y, model.predict(X))}


def folds_of(X, y, n_folds, is_classifier):
    """Yield X and y to train and to test, of each fold."""
    kind = StratifiedKFold if is_classifier else KFold
    for train, test in kind(n_folds, shuffle=True, random_state=0).split(X, y):
        yield X.iloc[train], y[train], X.iloc[test], y[test]


# %%
# Results
# -------


def tables(results, summaries=True):
    """One table of text for each measure, the sets in its lines and the contestants beside."""
    texts = []
    for measure, more_is_better in MEASURES.items():
        figures = {
            name: {who: scores[measure] for who, scores in result.items()}
            for name, result in results.items()
            if all(measure in scores for scores in result.values())
        }
        if figures:
            texts.append(table(measure, figures, more_is_better, summaries))
    return "\n\n".join(texts)


def table(measure, figures, more_is_better, summaries):
    """The figures of one measure as text, with their means and mean ranks."""
    names = list(next(iter(figures.values())))
    values = np.array([list(row.values()) for row in figures.values()])
    digits = 2 if measure == SECONDS else 3
    rows = [[measure, *names]]
    rows += [
        [name, *(f"{value:.{digits}f}" for value in line)]
        for name, line in zip(figures, values, strict=True)
    ]
    if summaries and len(figures) > 1:
        ranks = ranks_of(-values if more_is_better else values)
        rows.append(["mean", *(f"{value:.{digits}f}" for value in values.mean(axis=0))])
        rows.append(["mean rank", *(f"{rank:.1f}" for rank in ranks.mean(axis=0))])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    )


def ranks_of(values):
    """Rank in each line, 1 for the least; equal values share the mean of their ranks."""
    less = (values[:, None, :] < values[:, :, None]).sum(axis=2)
    equal = (values[:, None, :] == values[:, :, None]).sum(axis=2)
    return less + (equal + 1) / 2
