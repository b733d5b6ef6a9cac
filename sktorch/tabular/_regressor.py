"""The regressor for raw tables."""

import numpy as np
import torch
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import assert_all_finite, check_consistent_length, column_or_1d
from torch import Tensor

from sktorch.preprocessing import check_table
from sktorch.tabular._estimator import TabularEstimator, with_weight
from sktorch.tabular._parameters import check_parameters, check_quantile
from sktorch.tabular._tasks import Regression
from sktorch.tabular._undo import leaves_unchanged_on_failure
from sktorch.targets.weights import row_weights

# How far predictions may leave the range of y, as a share of it.
MARGIN = 0.1
# The skewness of positive targets above which logarithms of them are learnt.
MIN_SKEWNESS = 1.0


class TabularRegressor(RegressorMixin, TabularEstimator):
    """A regressor for raw tables: an ensemble of nets that needs no preparation.

    It is :class:`TabularClassifier` for numbers. Its prediction is the mean of those of the nets,
    kept near the range of y.

    Parameters
    ----------
    loss : {"squared_error", "absolute_error", "quantile"}, default="squared_error"
        The loss: predictions are means, medians or quantiles.
    quantile : float or None, default=None
        The quantile for ``loss="quantile"``, above 0 and below 1.
    extrapolate : bool, default=False
        Whether predictions may be anywhere. Otherwise they leave the range of y by at most a tenth
        of it.
    n_members : int, default=8
        Number of nets, two or more. Each holds out one row in `n_members`.
    hidden : tuple of int, default=(64, 64)
        Width of each hidden layer of a net.
    lr : float, default=0.01
        Learning rate of AdamW. It stays for half of the training, then falls to zero as a cosine.
    weight_decay : float, default=0.01
        Weight decay of the layers' weights.
    feature_dropout : float, default=0.02
        Probability, from 0 to less than 1, that a net misses a feature in a batch.
    max_epochs : int or "auto", default="auto"
        Number of epochs. "auto" takes 1,000 batches, in at least 20 and at most 200 epochs.
    batch_size : int or "auto", default="auto"
        Number of rows in a batch. "auto" is 128, of more than 50,000 rows 256, of more than 200,000
        rows 512.
    time_limit : float or None, default=None
        Seconds after which training ends, with a learning rate that has fallen to zero by then.
        With a limit, the same `random_state` may give other results.
    categorical_features : "from_dtype", array-like of bool, int or str, or None, \
default="from_dtype"
        Columns that are categories whatever they hold; see
        :class:`sktorch.preprocessing.TableCleaner`.
    device : str or torch.device, default="auto"
        Where to train. "auto" is CUDA, then MPS, then the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of held-out rows, initialisation, shuffling and dropout. The global random generators
        stay as they are.
    verbose : int, default=0
        1 prints one line per epoch.

    Attributes
    ----------
    validation_score_ : float
        R² on the training rows, each predicted by the one net that held it out: an estimate for new
        rows without a split. It is that of the best epoch for all nets, which is chosen by the same
        rows: on few hundred rows it promises a little too much. On many, all nets together are
        better.
    cleaner_ : TableCleaner
        The fitted cleaner. Its ``report()`` shows what became of each column.
    module_ : torch.nn.Module
        The nets, in eval mode, of cleaned columns: standardised numbers of shape (n_samples,
        n_members, 1).
    history_ : list of dict
        One dict per epoch: "epoch", "train_loss", "valid_risk" (the mean loss of held-out rows, of
        standardised targets), "lr", and "dur" in seconds.
    n_epochs_ : int
        Number of epochs trained.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if they are all strings.

    See Also
    --------
    TabularClassifier : The same for labels, with notes on the recipe.
    TorchRegressor : Any module as a regressor.

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sktorch import TabularRegressor
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True, scaled=False)
    >>> regressor = TabularRegressor(max_epochs=20, random_state=0).fit(X, y)
    >>> regressor.score(X, y) > 0.4
    True
    """

    def __init__(
        self,
        loss="squared_error",
        *,
        quantile=None,
        extrapolate=False,
        n_members=8,
        hidden=(64, 64),
        lr=0.01,
        weight_decay=0.01,
        feature_dropout=0.02,
        max_epochs="auto",
        batch_size="auto",
        time_limit=None,
        categorical_features="from_dtype",
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.loss = loss
        self.quantile = quantile
        self.extrapolate = extrapolate
        self.n_members = n_members
        self.hidden = hidden
        self.lr = lr
        self.weight_decay = weight_decay
        self.feature_dropout = feature_dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.time_limit = time_limit
        self.categorical_features = categorical_features
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @leaves_unchanged_on_failure
    def fit(self, X, y, sample_weight=None):
        """Clean a table and train on it.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, of shape (n_samples, n_features)
            The raw table.
        y : array-like of shape (n_samples,)
            Numbers.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, zero or more. Rows of weight zero are left out.

        Returns
        -------
        self : TabularRegressor

        Raises
        ------
        ValueError
            For a parameter out of its domain, or data that can't be trained on. A fitted estimator
            stays as it was.
        TypeError
            If X holds something else than text, numbers, booleans, dates and missing values.
        """
        check_parameters(self.get_params(), ("squared_error", "absolute_error", "quantile"))
        check_quantile(self.loss, self.quantile)
        table = check_table(self, X, reset=True)
        y = checked_numbers(y, table)
        weights = None
        if sample_weight is not None:
            weights = row_weights(y, None, sample_weight)
            table, y, weights = with_weight(table, y, weights)
        center, scale = _moments(y, weights)
        log = _moments(np.log(y), weights) if _is_lopsided(y, weights) else None
        task = Regression(self.loss, self.quantile, center, scale, log)
        outputs = self._train(table, (y - center) / scale, weights, task)
        self._task = task
        margin = MARGIN * (y.max() - y.min())
        self._range = float(y.min() - margin), float(y.max() + margin)
        predicted = self._in_scale_of_y(torch.from_numpy(outputs))
        # It is the same of standardised numbers, whose squares are always numbers.
        standardised = ((numbers - center) / scale for numbers in (y, predicted))
        self.validation_score_ = float(r2_score(*standardised, sample_weight=weights))
        return self

    def predict(self, X):
        """Predict a number for each row.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        return self._in_scale_of_y(self._outputs(X))

    def _in_scale_of_y(self, outputs: Tensor) -> np.ndarray:
        """Return the mean of what outputs (n_rows, ..., 1) of one or several members predict."""
        standardised = self._task.numbers(outputs.double()).flatten(1).mean(1)
        predicted = standardised.numpy() * self._task.scale + self._task.center
        return predicted if self.extrapolate else np.clip(predicted, *self._range)


def checked_numbers(y, X):
    """Return finite float64 targets, one a row of X."""
    y = column_or_1d(y, dtype=np.float64, warn=True)
    check_consistent_length(X, y)
    assert_all_finite(y, input_name="y")
    return y


def _moments(y: np.ndarray, weights: np.ndarray | None) -> tuple[float, float]:
    """Return the weighted mean and standard deviation of targets; 1 for a constant."""
    unit = np.abs(y).max() or 1.0  # Squares of very large or small numbers are none.
    center = np.average(y / unit, weights=weights)
    scale = np.sqrt(np.average((y / unit - center) ** 2, weights=weights))
    return float(unit * center), float(unit * scale) if scale > 0 else 1.0


def _is_lopsided(y: np.ndarray, weights: np.ndarray | None) -> bool:
    """Say whether positive targets have a long tail upwards that their logarithms have not."""
    if y.min() <= 0 or y.min() == y.max():
        return False
    skew, skew_of_logs = _skewness(y, weights), _skewness(np.log(y), weights)
    return skew > MIN_SKEWNESS and abs(skew_of_logs) < skew


def _skewness(y: np.ndarray, weights: np.ndarray | None) -> float:
    center, scale = _moments(y, weights)
    return float(np.average(((y - center) / scale) ** 3, weights=weights))
