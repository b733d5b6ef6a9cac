"""The classifier: a module whose predictions are labels, with scores and probabilities."""

from contextlib import suppress
from inspect import signature
from typing import Any

import torch
from sklearn.base import ClassifierMixin
from sklearn.callback import with_callbacks
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sktorch._errors import errors_name
from sktorch._estimator import TorchEstimator, as_array_of, dispatches
from sktorch._net import ClassifierNet
from sktorch._predictor import predictor
from sktorch._scoring import accuracy, comparable
from sktorch._validation import arguments_of_validation
from sktorch.losses.adapters import ignore_index_of, innermost
from sktorch.losses.registry import has_probabilities
from sktorch.targets.choice import label_codec
from sktorch.targets.entries import EntryLabels
from sktorch.targets.labels import Labels
from sktorch.targets.weights import check_sample_weight, near_one


def _has_probabilities(estimator: Any) -> bool:
    """Return True, or raise if the criterion defines no probabilities: `available_if` asks."""
    criterion = estimator.criterion
    if hasattr(estimator, "net_"):
        criterion = estimator.net_.criterion_
    else:
        with suppress(ValueError):  # `fit` raises for an unknown name.
            criterion = estimator._component_class("criterion")
    if not has_probabilities(criterion):
        raise AttributeError(
            f"criterion {innermost(criterion)!r} defines no probabilities. Use predict or "
            "decision_function, or a criterion that does, such as nn.CrossEntropyLoss."
        )
    return True


class TorchClassifier(ClassifierMixin, TorchEstimator):
    """A PyTorch module as a scikit-learn classifier.

    The defaults train a multi-layer perceptron that standardises its inputs,
    `sktorch.modules.StandardizedMLP`, with AdamW until its training loss stops falling.

    Parameters
    ----------
    module : nn.Module subclass, function, nn.Module instance or None, default=None
        The module to train: a class or function that returns a module, or an instance, which is
        copied at every ``fit`` and stays untrained. It returns logits, one per class.
        None is `sktorch.modules.StandardizedMLP`. Constructor parameters of these names are filled
        in unless you give them: ``n_features`` (number of values of one sample), ``n_outputs``,
        ``input_shape`` (``X.shape[1:]``), ``dtype`` (float64 if X is float64, else float32),
        ``cardinalities`` (for each column of a DataFrame, how many codes it holds, or 0 for
        numbers), ``input_mean`` and ``input_scale`` (of the training rows, tensors of
        ``input_shape``). X is cast to the module's floating dtype.
    criterion : str, nn loss class, instance or function, default="auto"
        The loss, a function of ``(output, target)``: a class of ``torch.nn`` or its name, such as
        "cross_entropy" or "bce_with_logits", an instance, or a function. "auto" is
        ``CrossEntropyLoss``, and ``BCEWithLogitsLoss`` if y holds indicators. torch's losses
        receive the target that they expect. Your own loss receives class codes (int64), or zeros
        and ones for indicators, and the module's output counts as logits. If it has methods
        ``predict(output)`` or ``predict_proba(output)``, these say what its outputs mean, which
        may be a tuple or dict of tensors; ``score(output, target)`` judges them. Its ``forward``
        may name ``X`` and ``module``, too.
    optimizer : str or torch.optim.Optimizer subclass, default=torch.optim.AdamW
        A class of ``torch.optim`` or its name, such as "sgd". Its other parameters are
        ``optimizer__*``. ``optimizer__param_groups=[("*.bias", {"weight_decay": 0.0})]`` gives
        the parameters whose names match a pattern their own settings; ``"lr_factor"`` is a
        learning rate as a multiple of ``lr``.
    lr : float, default=1e-3
        Learning rate, above zero.
    lr_schedule : str, LRScheduler class, function or None, default=None
        How the learning rate changes: "constant", "cosine", "cosine_log", "cosine_warm_restarts",
        "cyclic", "exponential", "flat_cosine", "linear", "multi_step", "one_cycle", "plateau",
        "polynomial", "step", a class of ``torch.optim.lr_scheduler``, or a function that makes a
        scheduler of an optimizer. Its parameters are ``lr_schedule__*``; all accept
        ``lr_schedule__warm_up``, a number of epochs.
    initializer : str, function, dict or None, default=None
        How to initialise the module's parameters: a name of ``torch.nn.init`` ("kaiming_normal"),
        a function of a tensor, or a dict of patterns of parameter names to either
        (``{"*.weight": "xavier_uniform", "*.bias": "zeros"}``); see
        `sktorch.modules.initialize`. None keeps the module's own initialisation.
    max_epochs : int, default=200
        Largest number of passes over the data. 0 trains nothing, for a module trained elsewhere.
    batch_size : int, default=128
        Number of rows in a batch; the last batch of an epoch may be smaller. A last row alone
        joins the batch before it where the module can't be trained on it, as batch normalisation.
    device : str or torch.device, default="auto"
        Where the module, the loss and the optimizer are. "auto" is CUDA, then MPS, then the CPU.
    early_stopping : bool, default=False
        Whether to hold out rows, to stop when the score on them no longer rises, and to restore
        the weights of the best epoch. Without early stopping, training stops when the training
        loss no longer falls.
    validation_fraction : float, default=0.1
        Share of the rows that early stopping holds out, stratified by class; above 0 and below 1.
    validation : tuple, Dataset, splitter or None, default=None
        Rows to validate on after every epoch, instead of ``validation_fraction``:
        ``(X_val, y_val)``, ``(X_val, y_val, sample_weight)``, a dataset with its targets, or a
        splitter of scikit-learn (``GroupKFold``, ``PredefinedSplit``, ``TimeSeriesSplit``, …),
        whose last split is used. Without early stopping, validation is only recorded; the rows
        that a splitter chooses are left out of training all the same. The steps before the
        estimator in a pipeline do not transform this ``X_val``: give it as the module accepts it,
        or give ``fit`` its argument ``X_val``, which ``Pipeline(transform_input=["X_val"])``
        transforms.
    scoring : str, list, dict, function or None, default=None
        Scorers of scikit-learn to evaluate and record after every epoch: "roc_auc" is recorded
        as ``valid_roc_auc`` on the validation rows, or as ``train_roc_auc`` on the training rows
        if there are no validation rows. A name that begins with ``train_`` or ``valid_`` chooses.
        A function receives an empty X, which it can only pass on to the estimator's methods.
    monitor : str or None, default=None
        The loss or score in ``history_`` that has to improve for training to go on, and that
        decides which weights are the best: "valid_loss", "valid_roc_auc". None is the estimator's
        ``score`` on the validation rows with early stopping, else "train_loss".
    augment : function or None, default=None
        A function ``X -> X`` that changes the inputs of every training batch, on the device: for
        example by random shifts of images. Validation and prediction do not use it.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops. ``math.inf`` always
        trains for ``max_epochs``.
    tol : float, default=1e-4
        Smallest change of the monitored loss or score that counts as an improvement.
    class_weight : dict, "balanced", list of dicts or None, default=None
        Weight of each class by its label; a list has one dict per column of y. "balanced" weighs
        classes inversely to their weight in y. Multiplies ``sample_weight``.
    callbacks : list or None, default=None
        Callbacks of skorch, each with or without a name: ``[("stop", EarlyStopping())]``. Every
        ``fit`` uses copies of them. Pass scikit-learn's callbacks to ``set_callbacks`` instead.
    warm_start : bool, default=False
        Whether ``fit`` continues from the weights of the last ``fit``.
    checkpoint : str, path or None, default=None
        File that holds the state of a training after every epoch, weights, optimizer and random
        numbers included. If it is there, ``fit`` goes on from it, to the bit as if nothing had
        happened; a finished training is loaded. Other data or parameters are an error, but
        ``max_epochs`` may be raised if there is neither ``lr_schedule`` nor ``callbacks``. Where a
        search or an ensemble calls ``fit``, ``checkpoint`` is a folder with a file for each fit.
    checkpoint_every : int, default=1
        Number of epochs from one checkpoint to the next; the last epoch has one, too.
    random_state : int, RandomState instance or None, default=None
        Seed of initialisation, shuffling, hold-out and dropout. An int has the effect of
        ``torch.manual_seed``: a hand-written loop over a ``DataLoader`` gives the same model. None
        draws a new seed each time. The global random generators stay as they are.
    verbose : int, default=0
        1 prints one line per epoch.
    precision : {"float32", "tf32", "bfloat16", "float16"}, default="float32"
        Precision of matrix products. "float32" keeps the module's own dtype, whatever it is.
        "tf32" rounds the factors of float32 products on GPUs that support it. "bfloat16" and
        "float16" are automatic mixed precision: products are computed in 16 bits, parameters and
        sums stay as they are; "float16" scales the loss, too.
    compile : bool or dict, default=False
        Whether to compile the module with ``torch.compile``; a dict holds its arguments.
    gradient_clip : float or None, default=None
        Largest norm of all gradients together; larger gradients are scaled down to it before each
        step.
    gradient_accumulation : int, default=1
        Number of batches whose gradients are averaged for one step of the optimizer.
    data_placement : {"auto", "device", "host", "source"}, default="auto"
        Where to keep the rows: on the training device, in the host's pinned memory (batches are
        copied ahead), or where they are. "auto" is the device if they fill at most half of its
        free memory. Sparse rows and memory maps always stay where they are.
    **component_parameters : dict
        Parameters of ``module``, ``criterion``, ``optimizer``, ``lr_schedule``,
        ``iterator_train`` and ``iterator_valid`` (of ``torch.utils.data.DataLoader``) and
        ``callbacks``, as in ``module__hidden=(50,)``.

    Attributes
    ----------
    classes_ : array of shape (n_classes,), or a list of them
        The labels, sorted. A tensor if X was a tensor and scikit-learn dispatches to its library.
        If y has several columns of labels, a list with the labels of each.
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns of X; only if X has them.
    input_shape_ : tuple of int
        ``X.shape[1:]``; None stands for a length that varies.
    cardinalities_ : tuple of int or None
        For a DataFrame with columns of codes (pandas' categories 0, 1, 2, …): how many codes each
        column has, 0 for numbers.
    module_ : torch.nn.Module
        The trained module, on ``device_``. It returns logits, or numbers in the scale of the
        training, not that of y; ``to_module()`` returns what the estimator predicts.
    optimizer_ : torch.optim.Optimizer
        The optimizer as the last epoch left it.
    history_ : skorch.history.History
        One row per epoch: ``train_loss``, ``valid_loss``, ``valid_acc``, the scores of ``scoring``,
        ``dur``, ``batches``.
    n_epochs_ : int
        Number of epochs trained.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Accuracy on the validation rows after each epoch; None without validation.
    best_epoch_ : int
        The epoch whose weights were kept, counted from 1.
    pruned_ : bool
        Whether the search that it was part of stopped the training, under
        ``joblib.parallel_config("sktorch", prune=...)``.
    device_ : torch.device
        The device that the module is on.
    data_placement_ : str
        Where the rows were kept: "device", "host" or "source".
    eager_reason_ : str or None
        Why training steps were not replayed from a recording; None if they were.
    codec_ : object
        Encodes targets, and turns the module's outputs into predictions.
    net_ : skorch.NeuralNet
        The net that callbacks see.

    Raises
    ------
    TypeError
        If a component parameter's name is unknown.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sktorch import TorchClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), TorchClassifier(lr=0.01, random_state=0))
    >>> bool(cross_val_score(model, X, y).mean() > 0.93)
    True

    A module of one's own:

    >>> from torch import nn
    >>> def make_net(n_features, n_outputs):
    ...     return nn.Sequential(nn.Linear(n_features, 20), nn.Tanh(), nn.Linear(20, n_outputs))
    >>> TorchClassifier(make_net, lr=0.01, random_state=0).fit(X, y).score(X, y) > 0.93
    True

    A module that was trained elsewhere, which is not trained any more:

    >>> trained = TorchClassifier(make_net, lr=0.01, random_state=0).fit(X, y).module_
    >>> TorchClassifier(trained, max_epochs=0).fit(X, y).score(X, y) > 0.93
    True
    """

    _net_class = ClassifierNet
    _default_criterion = nn.CrossEntropyLoss
    # "auto" is CrossEntropyLoss or BCEWithLogitsLoss, as y decides.
    _criterion_parameters = (*signature(nn.CrossEntropyLoss).parameters, "pos_weight")
    _score_of_epoch = staticmethod(accuracy)

    def __init__(
        self,
        module=None,
        *,
        criterion="auto",
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        lr_schedule=None,
        initializer=None,
        max_epochs=200,
        batch_size=128,
        device="auto",
        early_stopping=False,
        validation_fraction=0.1,
        validation=None,
        scoring=None,
        monitor=None,
        augment=None,
        n_iter_no_change=10,
        tol=1e-4,
        class_weight=None,
        callbacks=None,
        warm_start=False,
        checkpoint=None,
        checkpoint_every=1,
        random_state=None,
        verbose=0,
        precision="float32",
        compile=False,
        gradient_clip=None,
        gradient_accumulation=1,
        data_placement="auto",
        **component_parameters,
    ):
        self.module = module
        self.criterion = criterion
        self.optimizer = optimizer
        self.lr = lr
        self.lr_schedule = lr_schedule
        self.initializer = initializer
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.device = device
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.validation = validation
        self.scoring = scoring
        self.monitor = monitor
        self.augment = augment
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.checkpoint_every = checkpoint_every
        self.random_state = random_state
        self.verbose = verbose
        self.precision = precision
        self.compile = compile
        self.gradient_clip = gradient_clip
        self.gradient_accumulation = gradient_accumulation
        self.data_placement = data_placement
        self._set_component_parameters(component_parameters)

    @with_callbacks
    def fit(
        self,
        X,
        y=None,
        sample_weight=None,
        groups=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
    ):
        """Train on X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...), or a dataset
            Numbers of any real dtype, in two or more dimensions. A dict of arrays is passed to the
            arguments of the module's ``forward`` by name. A list of arrays of several lengths is
            passed as ``(padded, lengths)``. A ``torch.utils.data.Dataset`` or ``IterableDataset``
            holds samples ``(input, target)``, or only inputs if y is given.
        y : array-like of shape (n_samples,) or (n_samples, ...), default=None
            Labels. Zeros and ones in several columns are indicators: a row may have several of
            the labels. With other labels, each column is a target of its own. In more dimensions,
            or if the module returns (n_samples, n_classes, n_steps), each entry has a label. None
            for a dataset whose samples hold their targets.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, zero or more. Rows of weight zero are left out.
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are either trained or validated on, never both.
        X_val, y_val, sample_weight_val : default=None
            Rows to validate on, as in the parameter ``validation``. In a pipeline, ``X_val`` is
            transformed as X is with ``Pipeline(..., transform_input=["X_val"])``.

        Returns
        -------
        self : TorchClassifier

        Raises
        ------
        ValueError
            For a parameter out of its domain, data that can't be trained on, a module that does
            not fit them, a loss that is no longer finite, or a checkpoint of another training. A
            fitted estimator stays as it was.
        TypeError
            For a module or criterion that is not one.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = TorchClassifier(lr=0.01, random_state=0).fit(X, y, sample_weight=y + 1)
        >>> classifier.classes_
        array([0, 1, 2])
        """
        validation = arguments_of_validation(self, X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, groups=groups, validation=validation)

    @with_callbacks
    def partial_fit(self, X, y=None, classes=None, sample_weight=None):
        """Train for one more epoch on X and y.

        No rows are held out, and ``early_stopping``, ``validation``, ``monitor``, ``scoring``,
        ``lr_schedule`` and ``checkpoint`` do not apply.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            As in ``fit``; ``classes`` holds all labels.
        classes : array-like of shape (n_classes,), default=None
            All labels of all calls; required in the first call. For indicators, the numbers of
            the columns; for several columns of labels, a list with the labels of each.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, zero or more.

        Returns
        -------
        self : TorchClassifier

        Raises
        ------
        ValueError
            As in ``fit``; for ``classes`` missing on the first call or changed afterwards, and
            for ``class_weight="balanced"``, which needs all of y.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = TorchClassifier().partial_fit(X[:50], y[:50], classes=[0, 1, 2])
        >>> classifier.partial_fit(X[50:], y[50:]).n_epochs_
        2
        """
        if classes is None and not hasattr(self, "net_"):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all of y, and partial_fit sees a part of it. Pass a "
                "dict of weights: sklearn.utils.class_weight.compute_class_weight makes one."
            )
        return self._fit(X, y, sample_weight, classes=classes, partial=True)

    def predict(self, X):
        """Predict the label of the most likely class.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)

        Returns
        -------
        y : array of shape (n_samples,) or (n_samples, n_labels)
            In the dtype of ``classes_`` and the shape of a y. Here and below, a numpy
            array, or a tensor on X's device if X is a tensor and scikit-learn's
            ``array_api_dispatch`` is on.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> TorchClassifier(lr=0.01, random_state=0).fit(X, y).predict(X[:2])
        array([0, 0])
        """
        X, outputs = self._outputs(X)
        encoded = self.codec_.predicted(self.net_.criterion_, outputs)
        return _beside(self.codec_.decode_predicted(encoded.cpu().numpy()), X)

    def decision_function(self, X):
        """Return the scores of the classes: the module's output before it becomes probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)

        Returns
        -------
        scores : array of shape (n_samples, n_classes), or (n_samples,) for two classes
            For two classes, positive if the second is more likely. For indicators, one column per
            label, positive if the label is more likely than not. For several columns of labels, a
            list with an array for each.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> TorchClassifier(max_epochs=1).fit(X, y).decision_function(X[:2]).shape
        (2, 3)
        """
        X, outputs = self._outputs(X)
        return _arrays(self.codec_.decision(self.net_.criterion_, outputs), X)

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Return the probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)

        Returns
        -------
        p : array of shape (n_samples, n_classes)
            In the module's dtype, columns in the order of ``classes_``. For indicators, one column
            with each label's own probability. For several columns of labels, a list with an array
            for each. For a label for each entry, (n_samples, ..., n_classes).

        Raises
        ------
        AttributeError
            If the criterion defines no probabilities.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> p = TorchClassifier(max_epochs=1).fit(X, y).predict_proba(X[:2])
        >>> p.sum(axis=1).round(6)
        array([1., 1.])
        """
        X, outputs = self._outputs(X)
        return _arrays(self.codec_.probabilities(self.net_.criterion_, outputs), X)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X):
        """Return log-probabilities, which are more exact than the logarithm of ``predict_proba``.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)

        Returns
        -------
        log_p : array of shape (n_samples, n_classes)
            As in ``predict_proba``.

        Raises
        ------
        AttributeError
            If the criterion defines no probabilities.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> bool((TorchClassifier(max_epochs=1).fit(X, y).predict_log_proba(X) < 0).all())
        True
        """
        X, outputs = self._outputs(X)
        return _arrays(self.codec_.log_probabilities(self.net_.criterion_, outputs), X)

    @available_if(_has_probabilities)
    def to_module(self):
        """Return a plain module that returns what ``predict_proba`` does.

        Export it, look into it or put it in a larger one. Its parameters are copies. Autocast, as
        ``precision`` asks for, is not part of it.

        Returns
        -------
        module : torch.nn.Module
            In eval mode, on ``device_``. Its inputs are tensors in the dtypes of ``module_``;
            several inputs are several arguments. For several columns of labels it returns a tuple
            with a tensor for each.

        Raises
        ------
        AttributeError
            If the criterion defines no probabilities; ``module_`` returns the scores.

        Examples
        --------
        >>> import torch
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = TorchClassifier(max_epochs=1).fit(X, y)
        >>> p = classifier.to_module()(torch.from_numpy(X)).detach().numpy()
        >>> bool((p == classifier.predict_proba(X)).all())
        True
        """
        return predictor(self)

    def score(self, X, y=None, sample_weight=None):
        """Return the accuracy: the share of the rows, or entries of rows, predicted right.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...), or a dataset
        y : array-like of shape (n_samples,) or (n_samples, n_labels), default=None
            None for a dataset whose samples hold their targets.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        accuracy : float

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> TorchClassifier(lr=0.01, random_state=0).fit(X, y).score(X, y) > 0.93
        True
        """
        check_is_fitted(self)
        own = self._own_score(X, y, sample_weight)
        if own is not None:
            return own
        predicted, y = self._predicted_and_targets(X, y)
        if sample_weight is not None:
            sample_weight = near_one(check_sample_weight(sample_weight, len(predicted)))
        if not isinstance(self.codec_.targets, Labels):
            with errors_name("y"):
                y = self.codec_.targets.check(y, y)
                return self.codec_.accuracy(y, predicted, sample_weight)
        if sample_weight is None and comparable(y, predicted):
            return self.codec_.accuracy(y, predicted)  # scikit-learn's checks take 20x as long.
        with errors_name("y"):
            y = Labels.check(y, predicted)
            return accuracy_score(y, predicted, sample_weight=sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        tags.classifier_tags.multi_label = True
        # No array_api_support: of all array libraries, only torch's tensors are accepted.
        return tags

    def _check_target(self, X, y, classes, reset, per_entry=False):
        per_entry = per_entry or (not reset and isinstance(self.codec_.targets, EntryLabels))
        codec = label_codec(y, classes, per_entry)
        y = codec.check(y, X)
        if reset:
            ignored = None
            if codec is EntryLabels:
                criterion = self._given_criterion() or codec.default_criterion
                ignored = ignore_index_of(criterion, self._component_parameters("criterion"))
            self.codec_ = self._reading_of(codec.made(y, classes, ignored))
            self.classes_ = _beside(self.codec_.classes, X)
        elif classes is not None and not self.codec_.is_of(classes):
            raise ValueError(
                f"classes={classes!r} is not what it was on the first call to partial_fit, "
                f"{self.classes_!r}. Leave it out, or fit again."
            )
        return y


def _arrays(tensors: Any, X: Any) -> Any:
    """Return a tensor, or each of a list, as the kind of array that the caller expects."""
    if isinstance(tensors, list):
        return [as_array_of(tensor, X) for tensor in tensors]
    return as_array_of(tensors, X)


def _beside(labels: Any, X: Any) -> Any:
    """Return numeric labels as a tensor beside X if scikit-learn dispatches, else as they are."""
    if isinstance(labels, list):
        return labels
    if labels.dtype.kind in "biuf" and dispatches() and isinstance(X, torch.Tensor):
        return torch.from_numpy(labels.astype(labels.dtype.newbyteorder("="))).to(X.device)
    return labels
