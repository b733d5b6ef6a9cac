"""The regressor: a module whose predictions are numbers in the scale of y."""

from inspect import signature

import torch
from sklearn.base import RegressorMixin
from sklearn.callback import with_callbacks
from sklearn.utils.validation import check_is_fitted
from torch import nn

from sktorch._errors import errors_name
from sktorch._estimator import TorchEstimator, as_array_of
from sktorch._net import RegressorNet
from sktorch._predictor import predictor
from sktorch._scoring import r2, r_squared
from sktorch._validation import arguments_of_validation
from sktorch.losses.adapters import innermost, loss_arguments
from sktorch.targets.numbers import Numbers
from sktorch.targets.weights import check_sample_weight, near_one


class TorchRegressor(RegressorMixin, TorchEstimator):
    """A PyTorch module as a scikit-learn regressor.

    The defaults train a multi-layer perceptron that standardises its inputs,
    `sktorch.modules.StandardizedMLP`, with AdamW until its training loss stops falling.

    Parameters
    ----------
    module : nn.Module subclass, function, nn.Module instance or None, default=None
        The module to train: a class or function that returns a module, or an instance, which is
        copied at every ``fit`` and stays untrained. It returns one number per target.
        None is `sktorch.modules.StandardizedMLP`. Constructor parameters of these names are filled
        in unless you give them: ``n_features`` (number of values of one sample), ``n_outputs``,
        ``input_shape`` (``X.shape[1:]``), ``dtype`` (float64 if X is float64, else float32),
        ``cardinalities`` (for each column of a DataFrame, how many codes it holds, or 0 for
        numbers), ``input_mean`` and ``input_scale`` (of the training rows, tensors of
        ``input_shape``). X is cast to the module's floating dtype.
    criterion : str, nn loss class, instance or function, default="auto"
        The loss, a function of ``(output, target)``, both in the scale of the scaled targets: a
        class of ``torch.nn`` or its name, such as "huber", an instance, or a function. "auto" is
        ``MSELoss``. With ``PoissonNLLLoss``, ``predict`` returns the expected count. With
        ``GaussianNLLLoss``, the module returns two outputs per target, of which the second becomes
        the variance by softplus, and ``predict`` can return the standard deviation. With
        "quantile", `sktorch.losses.QuantileLoss`, ``predict`` returns a quantile. If your own loss
        has a method ``predict(output)``, it says what its outputs mean, which may be a tuple or
        dict of tensors, and ``score(output, target)`` judges them. Its ``forward`` may name ``X``
        and ``module``, too; without a target it trains by ``fit(X)``.
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
        Share of the rows that early stopping holds out; above 0 and below 1.
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
        Scorers of scikit-learn to evaluate and record after every epoch: "neg_max_error" is
        recorded as ``valid_neg_max_error`` on the validation rows, or as ``train_neg_max_error``
        on the training rows if there are no validation rows. A name that begins with ``train_``
        or ``valid_`` chooses. A function receives an empty X, which it can only pass on to the
        estimator's methods.
    monitor : str or None, default=None
        The loss or score in ``history_`` that has to improve for training to go on, and that
        decides which weights are the best: "valid_loss", "valid_neg_max_error". None is the
        estimator's ``score`` on the validation rows with early stopping, else "train_loss".
    augment : function or None, default=None
        A function ``X -> X`` that changes the inputs of every training batch, on the device: for
        example by random shifts of images. Validation and prediction do not use it.
    n_iter_no_change : int, default=10
        Number of epochs without improvement after which training stops. ``math.inf`` always
        trains for ``max_epochs``.
    tol : float, default=1e-4
        Smallest change of the monitored loss or score that counts as an improvement.
    scale_target : bool, default=True
        Whether to train on targets scaled to mean zero and variance one, by the mean and variance
        of the training rows; predictions are scaled back. ``PoissonNLLLoss`` and a loss with its
        own ``predict`` never scale.
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
        One row per epoch: ``train_loss``, ``valid_loss``, ``valid_r2``, the scores of ``scoring``,
        ``dur``, ``batches``.
    n_epochs_ : int
        Number of epochs trained.
    loss_curve_ : list of float
        Mean training loss of each epoch, of scaled targets.
    validation_scores_ : list of float or None
        R² on the validation rows after each epoch; None without validation.
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
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.model_selection import cross_val_score
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sktorch import TorchRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), TorchRegressor(max_epochs=40, random_state=0))
    >>> bool(cross_val_score(model, X, y).mean() > 0.4)
    True

    A mean and its uncertainty:

    >>> gaussian = TorchRegressor(criterion="gaussian_nll", max_epochs=20, random_state=0)
    >>> mean, deviation = gaussian.fit(X, y).predict(X, return_std=True)
    >>> bool((deviation > 0).all())
    True
    """

    _net_class = RegressorNet
    _default_criterion = nn.MSELoss
    _criterion_parameters = tuple(signature(nn.MSELoss).parameters)
    _score_of_epoch = staticmethod(r2)

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
        scale_target=True,
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
        self.scale_target = scale_target
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
            As in `TorchClassifier.fit`.
        y : array-like of shape (n_samples,) or (n_samples, ...), default=None
            Numbers; in more than two dimensions, pictures or sequences that the module returns.
            None for a dataset whose samples hold their targets, or a loss that takes none.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, zero or more. Rows of weight zero are left out.
        groups : array-like of shape (n_samples,), default=None
            Rows of one group are either trained or validated on, never both.
        X_val, y_val, sample_weight_val : default=None
            Rows to validate on, as in the parameter ``validation``. In a pipeline, ``X_val`` is
            transformed as X is with ``Pipeline(..., transform_input=["X_val"])``.

        Returns
        -------
        self : TorchRegressor

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
        >>> from sklearn.datasets import load_diabetes
        >>> from sktorch import TorchRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> TorchRegressor(lr=0.01, random_state=0).fit(X, y).score(X, y) > 0.4
        True
        """
        validation = arguments_of_validation(self, X_val, y_val, sample_weight_val)
        return self._fit(X, y, sample_weight, groups=groups, validation=validation)

    @with_callbacks
    def partial_fit(self, X, y=None, sample_weight=None):
        """Train for one more epoch on X and y.

        No rows are held out, and ``early_stopping``, ``validation``, ``monitor``, ``scoring``,
        ``lr_schedule`` and ``checkpoint`` do not apply. The first call decides how targets are
        scaled.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...), or a dataset
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
        sample_weight : array-like of shape (n_samples,), default=None
            Weights, zero or more.

        Returns
        -------
        self : TorchRegressor

        Raises
        ------
        ValueError
            As in ``fit``.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sktorch import TorchRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> TorchRegressor().partial_fit(X[:200], y[:200]).partial_fit(X[200:], y[200:]).n_epochs_
        2
        """
        return self._fit(X, y, sample_weight, partial=True)

    def predict(self, X, return_std=False):
        """Predict numbers in the scale of y, which the criterion derives from the module's output.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...), or a dataset
        return_std : bool, default=False
            Whether to return the standard deviation too, which ``GaussianNLLLoss`` learns.

        Returns
        -------
        y : array of shape (n_samples,) or (n_samples, ...)
            In the module's dtype, or float64 if that can't hold them, and the shape of the y of
            ``fit``; one column per quantile if the criterion has several. A numpy array, or a
            tensor on X's device if X is a tensor and scikit-learn's ``array_api_dispatch`` is on.
        std : array of the same shape
            Only if ``return_std``.

        Raises
        ------
        ValueError
            For ``return_std`` with a criterion that learns no standard deviation.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sktorch import TorchRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> TorchRegressor(max_epochs=5).fit(X, y).predict(X[:2]).shape
        (2,)
        """
        X, outputs = self._outputs(X)
        codec, criterion = self.codec_, self.net_.criterion_
        encoded = codec.predicted(criterion, outputs)
        predicted = as_array_of(codec.decode_predicted(encoded), X)
        if not return_std:
            return predicted
        deviation = codec.standard_deviation(criterion, outputs)
        if deviation is None:
            raise ValueError(
                f"return_std=True needs a criterion that learns a standard deviation, and "
                f"{innermost(criterion)} does not. Set criterion='gaussian_nll' and fit."
            )
        return predicted, as_array_of(codec.decode_predicted(deviation), X)

    def to_module(self):
        """Return a plain module that returns what ``predict`` does, in the scale of y.

        Export it, look into it or put it in a larger one. Its parameters are copies. Autocast, as
        ``precision`` asks for, is not part of it.

        Returns
        -------
        module : torch.nn.Module
            In eval mode, on ``device_``. Its inputs are tensors in the dtypes of ``module_``;
            several inputs are several arguments.

        Examples
        --------
        >>> import torch
        >>> from sklearn.datasets import load_diabetes
        >>> from sktorch import TorchRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> regressor = TorchRegressor(max_epochs=1).fit(X, y)
        >>> predicted = regressor.to_module()(torch.from_numpy(X)).detach().numpy()
        >>> bool((predicted == regressor.predict(X)).all())
        True
        """
        return predictor(self)

    def score(self, X, y=None, sample_weight=None):
        """Return the coefficient of determination, R², of ``predict(X)``.

        Parameters
        ----------
        X : {array-like, sparse matrix, torch.Tensor} of shape (n_samples, ...), or a dataset
        y : array-like of shape (n_samples,) or (n_samples, n_targets), default=None
            None for a dataset whose samples hold their targets.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        r2 : float
            1 at best; 0 for the mean of y.

        Raises
        ------
        ValueError
            If the predictions are several quantiles.

        Examples
        --------
        >>> from sklearn.datasets import load_diabetes
        >>> from sktorch import TorchRegressor
        >>> X, y = load_diabetes(return_X_y=True)
        >>> TorchRegressor(lr=0.01, random_state=0).fit(X, y).score(X, y) > 0.4
        True
        """
        check_is_fitted(self)
        own = self._own_score(X, y, sample_weight)
        if own is not None:
            return own
        if self.codec_.targets.has_several_quantiles(self.net_.criterion_):
            raise ValueError(
                "R² compares one number a target, and predict(X) gives several quantiles. Judge "
                "each column by sklearn.metrics.mean_pinball_loss, or pass scoring to what asks "
                "for the score."
            )
        predicted, y = self._predicted_and_targets(X, y)
        if sample_weight is not None:
            sample_weight = near_one(check_sample_weight(sample_weight, len(predicted)))
        with errors_name("y"):
            y = Numbers.check(y, predicted)
            return r_squared(y, predicted, sample_weight)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.three_d_array = True
        tags.target_tags.multi_output = True
        return tags

    def _check_target(self, X, y, classes, reset, per_entry=False):
        if not self._without_target():
            y = Numbers.check(y, X)
        if reset:
            self.codec_ = self._reading_of(Numbers.of(y, self._given_criterion()))
        return y

    def _without_target(self):
        given = self._given_criterion()
        parameters = self._component_parameters("criterion")
        return given is not None and not loss_arguments(given, parameters).has_target

    def _fit_codec(self, train):
        if self.scale_target and isinstance(self.codec_, Numbers):
            self.codec_.fit_scale(train.y[train.index], train.used_weights)
