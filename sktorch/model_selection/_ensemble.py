"""Ensembles of models that were fitted on the folds of a cross-validation."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin, clone, is_classifier
from sklearn.utils import indexable
from sklearn.utils.validation import check_is_fitted

from sktorch.model_selection._fold_ensemble import FoldEnsemble
from sktorch.model_selection._selection import complete_candidates, select
from sktorch.model_selection._tasks import Classification, Regression


class FoldEnsembleClassifier(ClassifierMixin, FoldEnsemble):
    """A classifier that averages the probabilities of models fitted on the folds of its rows.

    Each estimator is fitted once for each fold, on the rows that the fold does not hold out, and
    predicts those. By these predictions the estimators are weighed: the best one, then whichever
    makes the average better, as often as it does (Caruana et al., "Ensemble selection from
    libraries of models", ICML 2004). All models of an estimator that counts stay and predict new
    rows, so that nothing is fitted to all rows.

    Parameters
    ----------
    estimators : list of estimators
        Classifiers with ``predict_proba``, pipelines included, such as candidates of a search.
    weights : array-like of shape (n_estimators,), default=None
        Weight of each estimator. None chooses them greedily by held-out rows.
    cv : int, cross-validation generator or iterable, default=None
        The folds, as for :class:`sklearn.model_selection.GridSearchCV`.
    scoring : str or callable, default=None
        The score by which weights are chosen. None is the log-loss, negative. Scores of labels,
        such as accuracy, tell averages less well apart, and cost a call for each candidate and
        member.
    max_members : int, default=50
        How often an estimator joins the average at most; weights are multiples of one in so many.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    candidates_ : ndarray of int
        Positions among the candidates of those with a weight.
    weights_ : ndarray of shape (n_chosen,)
        Their weights, of sum 1.
    estimators_ : list of lists of estimators
        Their fitted models: ``estimators_[i][k]`` is that of ``candidates_[i]`` on fold k.
    score_ : float
        Score of the ensemble for held-out rows. As the weights were chosen by these, it promises
        somewhat too much.
    best_candidate_ : int
        Position of the candidate that is best alone.
    best_score_ : float
        Its score for held-out rows.
    n_features_in_ : int
        Number of columns of X; if the estimators tell.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X, if they are all strings.

    See Also
    --------
    ensemble_of : The ensemble of models that are fitted already.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sktorch import TorchClassifier
    >>> from sktorch.model_selection import FoldEnsembleClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> nets = [TorchClassifier(lr=lr, max_epochs=20, random_state=0) for lr in (0.1, 0.01, 0.001)]
    >>> ensemble = FoldEnsembleClassifier(nets).fit(X, y)
    >>> ensemble.score_ >= ensemble.best_score_
    True
    """

    def predict_proba(self, X):
        """Return the weighted mean of the models' probabilities.

        Parameters
        ----------
        X : array-like, DataFrame or whatever the estimators take

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        check_is_fitted(self)
        p = self._average(Classification(self.classes_), X)
        return p / p.sum(axis=1, keepdims=True)  # Those of float32 have a sum of one to its eps.

    def predict(self, X):
        """Predict the label of the most likely class.

        Parameters
        ----------
        X : array-like, DataFrame or whatever the estimators take

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        p = self.predict_proba(X)
        return self.classes_[p.argmax(axis=1)]

    def _task(self, y):
        y = Classification.checked(y)
        return Classification(np.unique(y)), y

    def _keep(self, task, selection):
        super()._keep(task, selection)
        self.classes_ = task.classes


class FoldEnsembleRegressor(RegressorMixin, FoldEnsemble):
    """A regressor that averages the predictions of models fitted on the folds of its rows.

    See :class:`FoldEnsembleClassifier`, whose parameters and other attributes it has.

    Parameters
    ----------
    estimators : list of estimators
        Regressors, of one target or several.
    weights : array-like of shape (n_estimators,), default=None
        Weight of each estimator. None chooses them greedily by held-out rows.
    cv : int, cross-validation generator or iterable, default=None
        The folds, as for :class:`sklearn.model_selection.GridSearchCV`.
    scoring : str or callable, default=None
        The score by which weights are chosen. None is the mean squared error, negative.
    max_members : int, default=50
        How often an estimator joins the average at most; weights are multiples of one in so many.

    Attributes
    ----------
    candidates_ : ndarray of int
        Positions among the candidates of those with a weight.
    weights_ : ndarray of shape (n_chosen,)
        Their weights, of sum 1.
    estimators_ : list of lists of estimators
        Their fitted models: ``estimators_[i][k]`` is that of ``candidates_[i]`` on fold k.
    score_ : float
        Score of the ensemble for held-out rows.
    best_candidate_, best_score_ : int and float
        The candidate that is best alone, and its score for held-out rows.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from sktorch.model_selection import FoldEnsembleRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> FoldEnsembleRegressor([Ridge(1.0), Ridge(0.01)]).fit(X, y).predict(X).shape
    (442,)
    """

    def predict(self, X):
        """Return the weighted mean of the models' predictions.

        Parameters
        ----------
        X : array-like, DataFrame or whatever the estimators take

        Returns
        -------
        y : ndarray of shape (n_samples,) or (n_samples, n_targets)
        """
        check_is_fitted(self)
        return self._average(Regression(), X)

    def _task(self, y):
        return Regression(), Regression.checked(y)


def ensemble_of(
    models: Sequence[Sequence[Any]],
    test_indices: Sequence[np.ndarray],
    X: Any,
    y: Any,
    *,
    scorer: Callable[..., float] | None = None,
    sample_weight: Any = None,
    cv: Any = None,
    max_members: int = 50,
) -> FoldEnsemble:
    """Return the greedy ensemble of models that were fitted on folds.

    Its ``estimators`` are unfitted ones of the chosen candidates with their ``weights``, so that a
    clone of it fits these again.

    Parameters
    ----------
    models : list of lists of estimators
        ``models[c][k]`` is the fitted model of candidate c on fold k; None if it failed.
    test_indices : list of arrays of int
        The rows that fold k holds out. Folds may overlap, and rows may be in none.
    X : array-like, DataFrame or whatever the models take
        All rows.
    y : array-like
        Their targets.
    scorer : callable ``(estimator, X, y) -> float``, default=None
        What judges averages. None is the log-loss of labels, the squared error of numbers.
    sample_weight : array-like of shape (n_samples,), default=None
        Weights of the rows by which averages are judged.
    cv : int, cross-validation generator or iterable, default=None
        Parameter of the ensemble, for when it is fitted anew.
    max_members : int, default=50
        As for :class:`FoldEnsembleClassifier`.

    Returns
    -------
    FoldEnsembleClassifier or FoldEnsembleRegressor
        The fitted ensemble.

    Raises
    ------
    ValueError
        If each candidate has failed on a fold or predicts numbers that are not finite, or y has
        several labels a row.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_validate
    >>> from sktorch.model_selection import ensemble_of
    >>> X, y = load_iris(return_X_y=True)
    >>> kept = {"return_estimator": True, "return_indices": True}
    >>> candidates = [LogisticRegression(C=C, max_iter=1000) for C in (0.1, 10.0)]
    >>> fits = [cross_validate(candidate, X, y, **kept) for candidate in candidates]
    >>> models = [fit["estimator"] for fit in fits]
    >>> ensemble_of(models, fits[0]["indices"]["test"], X, y).predict(X).shape
    (150,)
    """
    X, y, sample_weight = indexable(X, y, sample_weight)
    if any(len(own) != len(test_indices) for own in models):
        counts = sorted({len(own) for own in models})
        raise ValueError(
            f"models has {counts} models of a candidate, but test_indices has {len(test_indices)} "
            "folds; expected a model for each fold, or None."
        )
    first = models[complete_candidates(models)[0]][0]
    kind = FoldEnsembleClassifier if is_classifier(first) else FoldEnsembleRegressor
    ensemble = kind([], cv=cv, max_members=max_members)
    task, y = ensemble._task(y)
    options: dict[str, Any] = {"scorer": scorer, "sample_weight": sample_weight}
    selection = select(task, models, test_indices, X, y, max_members=max_members, **options)
    ensemble._keep(task, selection)
    ensemble.estimators = [clone(of_folds[0]) for of_folds in selection.models]
    ensemble.weights = selection.weights.tolist()
    return ensemble
