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
from table_contestants import CONTESTANTS, available
from table_scores import SECONDS, classification_scores, folds_of, regression_scores, tables
from table_sets import CLASSIFICATION, GROWTH, REGRESSION, generated, load, whole_adult
from turns import in_turn

# %%
# Measuring
# ---------


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
