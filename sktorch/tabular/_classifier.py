"""The classifier for raw tables."""

import math
from typing import Any

from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from torch import Tensor

from sktorch.preprocessing import check_table
from sktorch.tabular._estimator import TabularEstimator, with_weight
from sktorch.tabular._parameters import check_parameters
from sktorch.tabular._tasks import Classification
from sktorch.tabular._undo import leaves_unchanged_on_failure
from sktorch.targets.labels import Labels


class TabularClassifier(ClassifierMixin, TabularEstimator):
    """A classifier for raw tables: an ensemble of nets that needs no preparation.

    ``fit`` takes a DataFrame of pandas or polars, or an array, with numbers, text, categories,
    dates and missing values. A :class:`sktorch.preprocessing.TableCleaner` makes numbers of them,
    of which waves are made, and several small nets train on these as one program. Each of them
    holds out other rows, by which its best epoch is chosen and its probabilities are
    calibrated. The ensemble's probabilities are the mean of theirs.

    Parameters
    ----------
    loss : {"log_loss", "error"}, default="log_loss"
        What the best epoch is judged by: probabilities (their Brier score), or labels.
    n_members : int, default=8
        Number of nets, two or more. Each holds out one row in `n_members`.
    hidden : tuple of int, default=(64, 64)
        Width of each hidden layer of a net.
    lr : float, default=0.01
        Learning rate of AdamW. It stays for half of the training, then falls to zero as a cosine.
    weight_decay : float, default=0.01
        Weight decay of the layers' weights.
    feature_dropout : float, default=0.15
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
    class_weight : dict, "balanced" or None, default=None
        Weight of each class by its label. Multiplies ``sample_weight``.
    device : str or torch.device, default="auto"
        Where to train. "auto" is CUDA, then MPS, then the CPU.
    random_state : int, RandomState instance or None, default=None
        Seed of held-out rows, initialisation, shuffling and dropout. The global random generators
        stay as they are.
    verbose : int, default=0
        1 prints one line per epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The labels, sorted.
    validation_score_ : float
        Accuracy on the training rows, each predicted by the one net that held it out: an estimate
        for new rows without a split. It is that of the best epoch for all nets, which is chosen by
        the same rows: on few hundred rows it promises a few percent too much. On many, all nets
        together are better.
    cleaner_ : TableCleaner
        The fitted cleaner. Its ``report()`` shows what became of each column.
    module_ : torch.nn.Module
        The nets, in eval mode, of cleaned columns: logits of shape (n_samples, n_members,
        n_classes).
    history_ : list of dict
        One dict per epoch: "epoch", "train_loss", "valid_risk" (the mean over the nets of what the
        best epoch is judged by), "lr", and "dur" in seconds.
    n_epochs_ : int
        Number of epochs trained.
    n_features_in_ : int
        Number of columns of X.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, if they are all strings.

    See Also
    --------
    TorchClassifier : Any module as a classifier.
    sktorch.modules.Ensemble : Members of one's own in one module.

    Notes
    -----
    The recipe combines known parts: robust scaling and a smooth clip (Holzmüller, Grinsztajn and
    Steinwart, "Better by Default", 2024, arXiv:2407.04491), waves of numbers (Tancik et al., 2020,
    arXiv:2006.10739), deep ensembles (Lakshminarayanan et al., 2017, arXiv:1612.01474) and
    temperature scaling (Guo et al., 2017, arXiv:1706.04599). What was tried is in the page on
    performance.

    Examples
    --------
    >>> import pandas as pd
    >>> from sktorch import TabularClassifier
    >>> X = pd.DataFrame({"age": ["31", "?", "54"] * 20, "city": ["Kyiv", "Oslo", None] * 20})
    >>> y = ["no", "yes", "yes"] * 20
    >>> classifier = TabularClassifier(max_epochs=20, random_state=0).fit(X, y)
    >>> classifier.predict(X[:3])
    array(['no', 'yes', 'yes'], dtype='<U3')
    """

    def __init__(
        self,
        loss="log_loss",
        *,
        n_members=8,
        hidden=(64, 64),
        lr=0.01,
        weight_decay=0.01,
        feature_dropout=0.15,
        max_epochs="auto",
        batch_size="auto",
        time_limit=None,
        categorical_features="from_dtype",
        class_weight=None,
        device="auto",
        random_state=None,
        verbose=0,
    ):
        self.loss = loss
        self.n_members = n_members
        self.hidden = hidden
        self.lr = lr
        self.weight_decay = weight_decay
        self.feature_dropout = feature_dropout
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.time_limit = time_limit
        self.categorical_features = categorical_features
        self.class_weight = class_weight
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
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, zero or more. Rows of weight zero are left out.

        Returns
        -------
        self : TabularClassifier

        Raises
        ------
        ValueError
            For a parameter out of its domain, or data that can't be trained on. A fitted estimator
            stays as it was.
        TypeError
            If X holds something else than text, numbers, booleans, dates and missing values.
        """
        check_parameters(self.get_params(), ("log_loss", "error"))
        table = check_table(self, X, reset=True)
        y = Labels.check(y, table)
        codec = Labels.of(y)
        codes = codec.encode(y)
        weights = codec.row_weights(codes, sample_weight, self.class_weight)
        table, codes, weights = with_weight(table, codes, weights)
        outputs = self._train(table, codes, weights, Classification(len(codec.classes), self.loss))
        self.classes_ = codec.classes
        self.validation_score_ = float(
            accuracy_score(codes, outputs.argmax(axis=1), sample_weight=weights)
        )
        return self

    def predict_proba(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, of shape (n_samples, n_features)

        Returns
        -------
        p : ndarray of shape (n_samples, n_classes)
            Columns in the order of ``classes_``.
        """
        return self._log_p(X).exp().numpy()

    def predict_log_proba(self, X):
        """Return the logarithms of the probabilities.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, of shape (n_samples, n_features)

        Returns
        -------
        log_p : ndarray of shape (n_samples, n_classes)
        """
        return self._log_p(X).numpy()

    def predict(self, X):
        """Predict the label of the most likely class.

        Parameters
        ----------
        X : DataFrame of pandas or polars, or array-like, of shape (n_samples, n_features)

        Returns
        -------
        y : ndarray of shape (n_samples,)
        """
        codes = self._log_p(X).argmax(-1).numpy()
        return self.classes_[codes]

    def _log_p(self, X: Any) -> Tensor:
        """Return the logarithms of the members' mean probabilities."""
        log_p = self._outputs(X).log_softmax(-1)
        return log_p.logsumexp(1) - math.log(log_p.shape[1])
