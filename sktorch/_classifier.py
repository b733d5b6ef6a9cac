"""The classifier: labels, scores and probabilities."""

import numpy as np
import torch
from sklearn.base import ClassifierMixin
from sklearn.callback import with_callbacks
from sklearn.utils.metaestimators import available_if
from torch import nn

from sktorch._base import TorchEstimator, as_array_of
from sktorch._net import ClassifierNet, predicted_codes
from sktorch._targets import (
    check_labels,
    classes_of,
    dispatches,
    encode_labels,
    hold_out,
    row_weights,
)
from sktorch.training.losses import LINKS, innermost, link_of


def _has_probabilities(estimator):
    criterion = estimator.net_.criterion_ if hasattr(estimator, "net_") else estimator.criterion
    if link_of(criterion).log_probabilities is None:
        raise AttributeError(
            f"criterion {innermost(criterion)!r} defines no probabilities. Use predict or "
            "decision_function, or a criterion that does, such as nn.CrossEntropyLoss."
        )
    return True


class TorchClassifier(ClassifierMixin, TorchEstimator):
    """A PyTorch module as a scikit-learn classifier.

    The defaults train the multi-layer perceptron `sktorch.modules.MLP` with AdamW until its
    training loss stops falling.

    Parameters
    ----------
    module : nn.Module subclass, function, nn.Module instance or None, default=None
        What to train: a class or function that returns a module, or an instance, whose weights
        are copied at every ``fit`` and never trained in place. It returns logits, one per class.
        None is `sktorch.modules.MLP`. Constructor parameters of these names that are not given
        are filled in: ``n_features`` (values of one sample), ``n_outputs``, ``input_shape``
        (``X.shape[1:]``) and ``dtype`` (float64 for X of float64, else float32). The module's
        floating dtype decides what X is cast to.
    criterion : nn loss class, instance or function, default=nn.CrossEntropyLoss
        The loss, of ``(output, target)``. ``CrossEntropyLoss``, ``NLLLoss``,
        ``BCEWithLogitsLoss``, ``BCELoss``, ``SoftMarginLoss`` and ``MultiMarginLoss`` get the
        target that they expect; for any other loss the target is class codes (int64), and the
        module's output is read as logits.
    optimizer : torch.optim.Optimizer subclass, default=torch.optim.AdamW
        Its other parameters are ``optimizer__*``;
        ``optimizer__param_groups=[("*.bias", {"weight_decay": 0.0})]`` gives parameters whose
        names match a pattern settings of their own.
    lr : float, default=1e-3
        Learning rate, above zero.
    max_epochs : int, default=200
        Number of passes over the data at most.
    batch_size : int, default=128
        Number of rows of a batch; the last one of an epoch may be shorter.
    device : str or torch.device, default="auto"
        Where module, loss and optimizer live. "auto" is CUDA, then MPS, then the CPU.
    early_stopping : bool, default=False
        Whether to hold rows out, to stop when their accuracy no longer rises, and to restore the
        weights of the best epoch. Without it, training stops when the training loss no longer
        falls.
    validation_fraction : float, default=0.1
        Share of the rows to hold out, stratified, above 0 and below 1.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops; ``math.inf`` trains for
        ``max_epochs``.
    tol : float, default=1e-4
        What counts as an improvement, of the loss or of the accuracy.
    class_weight : dict, "balanced" or None, default=None
        Weight of each class by its label. "balanced" weighs them inversely to their weight in y.
        Multiplies ``sample_weight``.
    callbacks : list or None, default=None
        Callbacks of skorch, with or without a name: ``[("stop", EarlyStopping())]``. Copies of
        them are used. Those of scikit-learn are given to ``set_callbacks``.
    warm_start : bool, default=False
        Whether ``fit`` goes on with the weights of the last ``fit``.
    random_state : int, RandomState instance or None, default=None
        Fixes initialisation, shuffling, hold-out and dropout. An int seeds as
        ``torch.manual_seed`` does, so that a hand-written loop over a ``DataLoader`` gives the
        same model. None takes a new seed each time. The global generators stay as they are.
    verbose : int, default=0
        1 prints a line an epoch.
    precision : {"float32", "tf32", "bfloat16", "float16"}, default="float32"
        What products are computed in. "float32" is the module's own dtype, whatever it is; "tf32"
        rounds the factors of float32 products on GPUs that can; "bfloat16" and "float16" cast
        products to 16 bits, parameters and sums stay as they are, and float16 scales the loss.
    compile : bool or dict, default=False
        Whether to compile the module with ``torch.compile``; a dict holds its arguments.
    gradient_clip : float or None, default=None
        What the norm of all gradients together is clipped to before each step.
    gradient_accumulation : int, default=1
        Number of batches whose gradients are averaged for one step of the optimizer.
    data_placement : {"auto", "device", "host", "source"}, default="auto"
        Where the rows are kept: on the training device, in the host's pinned memory with batches
        copied ahead, or where they are. "auto" takes the device if they fill at most half of its
        free memory. Sparse rows and memory maps always stay where they are.
    **component_parameters : dict
        Parameters of ``module``, ``criterion``, ``optimizer``, ``iterator_train`` and
        ``iterator_valid`` (of ``torch.utils.data.DataLoader``) and ``callbacks``, as in
        ``module__hidden=(50,)``.

    Attributes
    ----------
    classes_ : array of shape (n_classes,)
        The labels, sorted; a tensor where X was one and scikit-learn dispatches.
    n_features_in_ : int
        ``X.shape[1]``.
    feature_names_in_ : ndarray of shape (`n_features_in_`,)
        Names of the columns, where X has them.
    input_shape_ : tuple of int
        ``X.shape[1:]``.
    module_ : torch.nn.Module
        The trained module, on ``device_``.
    optimizer_ : torch.optim.Optimizer
        The optimizer as the last epoch left it.
    history_ : skorch.history.History
        A row an epoch: ``train_loss``, ``valid_loss``, ``valid_acc``, ``dur``, ``batches``.
    n_epochs_ : int
        Number of epochs trained.
    loss_curve_ : list of float
        Mean training loss of each epoch.
    validation_scores_ : list of float or None
        Accuracy on the hold-out after each epoch.
    best_epoch_ : int
        The epoch whose weights were kept, counted from 1.
    device_ : torch.device
        Where the module is.
    data_placement_ : str
        Where the rows were: "device", "host" or "source".
    eager_reason_ : str or None
        Why training steps were not replayed from a CUDA graph; None where they were.
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
    """

    _net_class = ClassifierNet

    def __init__(
        self,
        module=None,
        *,
        criterion=nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        lr=1e-3,
        max_epochs=200,
        batch_size=128,
        device="auto",
        early_stopping=False,
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        class_weight=None,
        callbacks=None,
        warm_start=False,
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
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.device = device
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.class_weight = class_weight
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose
        self.precision = precision
        self.compile = compile
        self.gradient_clip = gradient_clip
        self.gradient_accumulation = gradient_accumulation
        self.data_placement = data_placement
        self._set_component_parameters(component_parameters)

    @with_callbacks
    def fit(self, X, y, sample_weight=None):
        """Train on X and y.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)
            Numbers of any real dtype; two or more dimensions.
        y : array-like of shape (n_samples,)
            Labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, zero or more. Rows of weight zero are left out.

        Returns
        -------
        self : TorchClassifier

        Raises
        ------
        ValueError
            For a parameter out of its domain, data that can't be trained on, a module that does
            not fit them, or a loss that is no longer finite. A fitted estimator stays as it was.
        TypeError
            For a module or criterion that is none.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> classifier = TorchClassifier(lr=0.01, random_state=0).fit(X, y, sample_weight=y + 1)
        >>> classifier.classes_
        array([0, 1, 2])
        """
        return self._fit(
            X,
            y,
            sample_weight,
            n_epochs=self.max_epochs,
            resume=self.warm_start,
            hold_out=self.early_stopping,
        )

    @with_callbacks
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch on X and y, on top of what is there.

        Nothing is held out, and early stopping does not apply.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)
        y : array-like of shape (n_samples,)
            Labels, all of them among the classes.
        classes : array-like of shape (n_classes,), default=None
            All labels that will ever come; needed on the first call.
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
        return self._fit(
            X, y, sample_weight, n_epochs=1, resume=True, hold_out=False, classes=classes
        )

    def predict(self, X):
        """Labels of the likeliest classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)

        Returns
        -------
        y : array of shape (n_samples,)
            In the dtype of ``classes_``. Here and below, a numpy array; where scikit-learn's
            ``array_api_dispatch`` is on and X is a tensor, a tensor on X's device.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> TorchClassifier(lr=0.01, random_state=0).fit(X, y).predict(X[:2])
        array([0, 0])
        """
        X, outputs = self._outputs(X)
        codes = predicted_codes(self.net_.criterion_, outputs, len(self.classes_))
        return self._labels(codes, X)

    def decision_function(self, X):
        """Scores of the classes: what the module returns, before it becomes probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)

        Returns
        -------
        scores : array of shape (n_samples, n_classes), or (n_samples,) for two classes
            For two classes, above zero where the second is likelier.

        Examples
        --------
        >>> from sklearn.datasets import load_iris
        >>> from sktorch import TorchClassifier
        >>> X, y = load_iris(return_X_y=True)
        >>> TorchClassifier(max_epochs=1).fit(X, y).decision_function(X[:2]).shape
        (2, 3)
        """
        X, outputs = self._outputs(X)
        scores = link_of(self.net_.criterion_).scores(outputs)
        if scores.ndim == 2 and len(self.classes_) == 2:
            scores = scores[:, 1] - scores[:, 0]
        return as_array_of(scores, X)

    @available_if(_has_probabilities)
    def predict_proba(self, X):
        """Probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)

        Returns
        -------
        p : array of shape (n_samples, n_classes)
            In the module's dtype; columns as in ``classes_``.

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
        X, log_probabilities = self._log_probabilities(X)
        return as_array_of(log_probabilities.exp_(), X)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X):
        """Logarithms of the probabilities, more exact than the logarithm of ``predict_proba``.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...)

        Returns
        -------
        log_p : array of shape (n_samples, n_classes)

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
        X, log_probabilities = self._log_probabilities(X)
        return as_array_of(log_probabilities, X)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        # Tensors of torch go through, those of other array libraries don't: no array_api_support.
        return tags

    def _log_probabilities(self, X):
        X, outputs = self._outputs(X)
        if len(self.classes_) == 1:
            return X, outputs.new_zeros(len(outputs), 1)
        return X, link_of(self.net_.criterion_).log_probabilities(outputs)

    def _labels(self, codes, X):
        """Labels of codes, beside X where they are numbers and scikit-learn dispatches."""
        return _beside(self._numpy_classes()[codes.cpu().numpy()], X)

    def _numpy_classes(self):
        """The classes as numpy holds them, whatever array they were asked for in."""
        is_tensor = isinstance(self.classes_, torch.Tensor)
        return self.classes_.cpu().numpy() if is_tensor else self.classes_

    def _check_target(self, X, y, sample_weight, classes, reset):
        y = check_labels(y, X)
        if reset:
            known = classes_of(y if classes is None else check_labels(classes, classes))
            self.classes_ = _beside(known, X)
        elif classes is not None and not np.array_equal(
            classes_of(check_labels(classes, classes)), self._numpy_classes()
        ):
            raise ValueError(
                f"classes={classes!r} is not what it was on the first call to partial_fit, "
                f"{self.classes_!r}. Leave it out, or fit again."
            )
        known = self._numpy_classes()
        codes = encode_labels(y, known)
        return codes, row_weights(codes, known, sample_weight, self.class_weight)

    def _hold_out(self, index, y, seed):
        return hold_out(index, y, self.validation_fraction, seed)

    def _n_outputs(self):
        return link_of(self.criterion).widths(len(self.classes_))[0]

    def _check_net(self, net):
        net.n_classes_ = len(self.classes_)
        link, output = link_of(net.criterion_), net.example_output_
        widths = link.widths(net.n_classes_)
        width = 1 if output.ndim == 1 else output.shape[-1]
        if output.ndim > 2 or len(output) != net.example_.shape[0] or width not in widths:
            raise ValueError(
                f"module returned an output of shape {tuple(output.shape)} for a batch of "
                f"{net.example_.shape[0]} rows; {net.criterion_} on {net.n_classes_} classes "
                f"expects {' or '.join(map(str, widths))} column(s). Change the module, or let its "
                "constructor take n_outputs, which is filled in."
            )
        if link is LINKS[nn.NLLLoss] and not torch.allclose(
            output.exp().sum(1), torch.ones_like(output[:, 0]), atol=1e-2
        ):
            raise ValueError(
                f"module's outputs are no log-probabilities, which {net.criterion_} expects: they "
                f"add up to {output.exp().sum(1).tolist()}, not 1. End the module with "
                "nn.LogSoftmax(dim=1), or set criterion=nn.CrossEntropyLoss."
            )

    def _target(self, net, y):
        encode = link_of(net.criterion_).encode
        return encode(torch.from_numpy(y), len(self.classes_), net.example_output_)

    def _decode(self, y):
        return self._numpy_classes()[y]

    def _validation_score(self, net, data):
        """Accuracy, weighted as the loss is."""
        if data.valid is None:
            return None
        codes = torch.from_numpy(data.y[data.valid]).to(net.device)
        weights = None if data.weights is None else torch.from_numpy(data.weights[data.valid])

        def accuracy(outputs):
            hits = predicted_codes(net.criterion_, outputs, len(self.classes_)) == codes
            return np.average(hits.cpu().numpy(), weights=weights).item()

        return accuracy


def _beside(labels, X):
    """Labels, beside a tensor X where they are numbers and scikit-learn dispatches."""
    if labels.dtype.kind in "biuf" and dispatches() and isinstance(X, torch.Tensor):
        return torch.from_numpy(labels.astype(labels.dtype.newbyteorder("="))).to(X.device)
    return labels
