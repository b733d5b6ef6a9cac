"""
Raw tables, side by side
========================

How good estimators are on raw tables with all their defaults, and how long they train. Ten real
sets to classify and three of numbers, of 4,000 rows at most, in five folds; the seconds are those
of one core's time that a fit takes, with the preparation that the estimator needs. Settings were
chosen on adult, german, phoneme, satimage and splice; the others tell whether they hold.

::

    python examples/benchmarks/tables.py --json figures.json
    python examples/benchmarks/tables.py --sets german,ames --folds 2
    python examples/benchmarks/tables.py --contestants Tabular,HistGradientBoosting
    python examples/benchmarks/tables.py --adult
    python examples/benchmarks/tables.py --growth

``--adult`` trains on all rows of UCI Adult, in its official split. ``--growth`` measures how the
time grows with rows, columns, classes and categories of generated tables. RealMLP-TD-S takes part
if ``pytabkit`` is installed: ``pip install pytabkit``, beside a torch that is already there.
"""

from conditions import one_core, report

one_core()

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score, log_loss, r2_score, roc_auc_score
from sklearn.model_selection import KFold, StratifiedKFold
from table_contestants import CONTESTANTS, available
from table_sets import CLASSIFICATION, GROWTH, REGRESSION, generated, load, whole_adult
from turns import in_turn

# %%
# Measuring
# ---------

# Each measure, and whether more of it is better.
MEASURES = {
    "accuracy": True,
    "log-loss": False,
    "AUC": True,
    "R²": True,
    "seconds of CPU a fit": False,
}
SECONDS = "seconds of CPU a fit"


def measure(contestants, splits, is_classifier):
    """``{contestant: {measure: mean over the splits}}``; a split is X and y to train and test."""
    scores = {name: [] for name in contestants}
    for turn, (X_train, y_train, X_test, y_test) in enumerate(splits):
        for name in in_turn(list(contestants), turn):
            model = contestants[name](is_classifier=is_classifier)
            start = time.process_time()
            model.fit(X_train, y_train)
            seconds = time.process_time() - start
            score = classification_scores if is_classifier else regression_scores
            scores[name].append(score(model, X_test, y_test) | {SECONDS: seconds})
    return {
        name: {measure: np.mean([fold[measure] for fold in folds]) for measure in folds[0]}
        for name, folds in scores.items()
    }


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


def grow(contestants):
    """``{what grows and how far: {contestant: {seconds: …}}}``."""
    results = {}
    for what, sizes in GROWTH.items():
        for size in sizes:
            settings = {"n_rows": 4_000} | {what: size}
            n_rows = settings.pop("n_rows")
            X, y = generated(n_rows + 1_000, **settings)  # a thousand to test
            split = X[:n_rows], y[:n_rows], X[n_rows:], y[n_rows:]
            results[f"{what}={size:,}"] = measure(contestants, [split], is_classifier=True)
            print(f"{what}={size:,}: done", file=sys.stderr)
    return results


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


# %%
# The command line
# ----------------


def names_in(text, known, parser):
    """Names that are separated by commas; an unknown one ends the program."""
    names = text.split(",")
    if unknown := sorted(set(names) - set(known)):
        parser.error(f"unknown: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


def main():
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("::")[0])
    all_sets = (*CLASSIFICATION, *REGRESSION)
    parser.add_argument("--sets", default=",".join(all_sets), help="default: %(default)s")
    parser.add_argument("--contestants", default=",".join(CONTESTANTS), help="default: %(default)s")
    parser.add_argument("--folds", type=int, default=5, help="default: %(default)s")
    parser.add_argument("--rows", type=int, default=4000, help="at most; default: %(default)s")
    parser.add_argument("--adult", action="store_true", help="whole Adult in its official split")
    parser.add_argument("--growth", action="store_true", help="generated tables that grow")
    parser.add_argument("--json", type=Path, help="write the figures here")
    arguments = parser.parse_args()
    sets = names_in(arguments.sets, all_sets, parser)
    wanted = names_in(arguments.contestants, CONTESTANTS, parser)

    torch.set_num_threads(1)
    contestants, absent = available(wanted)
    for name, reason in absent.items():
        print(f"{name} does not take part: {reason}", file=sys.stderr)
    if not contestants:
        sys.exit("Nobody takes part.")
    if arguments.adult:
        X_train, y_train, X_test, y_test = whole_adult()
        splits = [(X_train, y_train.to_numpy(), X_test, y_test.to_numpy())]
        results = {"whole adult": measure(contestants, splits, is_classifier=True)}
    elif arguments.growth:
        results = grow(contestants)
    else:
        results = {}
        for name in sets:
            X, y = load(name, arguments.rows)
            is_classifier = name in CLASSIFICATION
            splits = folds_of(X, y, arguments.folds, is_classifier)
            results[name] = measure(contestants, splits, is_classifier)
            print(f"{name}: done", file=sys.stderr)
    print(f"\n{tables(results, summaries=not arguments.growth)}")
    report(results, arguments.json)


if __name__ == "__main__":
    main()
