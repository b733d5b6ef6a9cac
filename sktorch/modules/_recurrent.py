"""The recurrent network."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from sktorch.modules._layers import (
    activation_factory,
    dropout_layers,
    normalization_layers,
    positive,
    unknown_name,
)

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentNet(nn.Module):
    """A recurrent network that reads a sequence and gives one output for it.

    Recurrent layers read the sequence; a linear layer reads the state they are in at its end.

    Parameters
    ----------
    input_shape : tuple
        Shape of one sample, (n_steps, n_features). Only the last entry matters, so that n_steps
        may be None. An estimator whose X holds the lengths too gives the shapes of both, a dict
        or a tuple of them.
    n_outputs : int
        Number of outputs; for a classifier, one logit per class.
    hidden : int, default=64
        Number of units of each recurrent layer, in each direction.
    n_layers : int, default=1
        Number of recurrent layers, one on top of the other.
    cell : {"gru", "lstm"}, default="gru"
        Kind of recurrent layer.
    bidirectional : bool, default=False
        Whether a second set of layers reads the sequence from its end to its start.
    activation : str or callable, default="identity"
        Activation of the state that the linear layer reads; those inside the cells are fixed.
        A name ("relu", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid",
        "identity"), or a function without arguments that returns an ``nn.Module``.
    dropout : float, default=0.0
        Probability, between 0 and 1, that a value is zeroed in training: of those the linear layer
        reads, and of those that pass from one recurrent layer to the next.
    normalization : {"batch", "layer"} or None, default=None
        Normalization of the state that the linear layer reads, before its activation.
    dtype : torch.dtype, default=None
        Dtype of the parameters; None is torch's default, float32.

    Raises
    ------
    ValueError
        If ``input_shape`` has not two entries, if ``hidden`` or ``n_layers`` is not positive, or
        if ``cell``, ``activation`` or ``normalization`` is not a known name.

    See Also
    --------
    sktorch.data.padding.pad_sequences : Makes padded batches of sequences of any length.

    Examples
    --------
    >>> import torch
    >>> from sktorch.modules import RecurrentNet
    >>> net = RecurrentNet((None, 3), 2, hidden=8)
    >>> X, lengths = torch.randn(5, 7, 3), torch.tensor([7, 2, 3, 1, 5])
    >>> net(X, lengths).shape
    torch.Size([5, 2])
    >>> torch.allclose(net(X, lengths)[1], net(X[1:2, :2])[0], atol=1e-6)
    True
    """

    def __init__(
        self,
        input_shape,
        n_outputs,
        hidden=64,
        n_layers=1,
        cell="gru",
        bidirectional=False,
        activation="identity",
        dropout=0.0,
        normalization=None,
        dtype=None,
    ):
        super().__init__()
        if cell not in CELLS:
            raise unknown_name("cell", cell, CELLS)
        hidden, n_layers = positive("hidden", hidden), positive("n_layers", n_layers)
        self.recurrent = CELLS[cell](
            _n_features(input_shape),
            hidden,
            n_layers,
            batch_first=True,
            dropout=dropout if n_layers > 1 else 0.0,  # torch warns where there is no next layer.
            bidirectional=bool(bidirectional),
            dtype=dtype,
        )
        n_state = 2 * hidden if bidirectional else hidden
        self.head = nn.Sequential(
            *normalization_layers(normalization, n_state, dtype=dtype),
            activation_factory(activation)(),
            *dropout_layers(dropout),
            nn.Linear(n_state, n_outputs, dtype=dtype),
        )

    def forward(self, X, lengths=None):
        """Return the output for each sequence.

        Parameters
        ----------
        X : torch.Tensor of shape (n_samples, n_steps, n_features)
        lengths : torch.Tensor of shape (n_samples,), int64, default=None
            Number of steps of each sequence; the values of X after them are ignored. None if all
            sequences have n_steps.

        Returns
        -------
        output : torch.Tensor of shape (n_samples, n_outputs)

        Raises
        ------
        ValueError
            If X or ``lengths`` has another shape, or if a length is not between 1 and n_steps.
            A net of one direction leaves the last check to torch, whose error on the CPU is a
            RuntimeError: to look at values here would wait for the device at every batch.
        TypeError
            If ``lengths`` does not hold integers.
        """
        if X.ndim != 3:
            raise ValueError(
                f"X has shape {tuple(X.shape)}; expected (n_samples, n_steps, n_features)."
            )
        if lengths is None:
            return self.head(self._state_after(X))
        _check_lengths(lengths, X)
        if self.recurrent.bidirectional:
            return self.head(self._state_after(_packed(X, lengths)))
        return self.head(self._state_at(X, lengths.to(X.device)))

    def _state_after(self, X: torch.Tensor | PackedSequence) -> torch.Tensor:
        """Return the last layer's final state, both directions side by side."""
        states = self.recurrent(X)[1]
        if isinstance(states, tuple):  # An LSTM has a hidden state and a cell state.
            states = states[0]
        return torch.cat(tuple(states[-2:]), dim=1) if self.recurrent.bidirectional else states[-1]

    def _state_at(self, X: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Return the last layer's state after ``lengths`` steps, without packing.

        This is faster than packing and, without control flow that depends on the data, works under
        ``torch.vmap``. It needs a single direction: the other direction would start in the padding.
        """
        is_padding = torch.arange(X.shape[1], device=X.device) >= lengths[:, None]
        # The padding becomes zero, so that a NaN in it can't reach the gradients as 0 * NaN.
        states = self.recurrent(X.masked_fill(is_padding[:, :, None], 0.0))[0]
        last = (lengths - 1)[:, None, None].expand(-1, 1, states.shape[2])
        return states.gather(1, last)[:, 0]


def _n_features(input_shape: Any) -> int:
    """Return the number of features of a step; ``input_shape`` may hold that of lengths, too."""
    if isinstance(input_shape, dict):
        input_shape = input_shape.get("X", ())
    elif input_shape and isinstance(input_shape[0], tuple):
        input_shape = input_shape[0]
    if len(input_shape) != 2:
        raise ValueError(
            f"input_shape={tuple(input_shape)} must be (n_steps, n_features). "
            "Reshape X to (n_samples, n_steps, n_features)."
        )
    return positive("input_shape[-1]", input_shape[-1])


def _check_lengths(lengths: torch.Tensor, X: torch.Tensor) -> None:
    if lengths.is_floating_point() or lengths.dtype is torch.bool:
        raise TypeError(f"lengths must be an int64 tensor, got {lengths.dtype}.")
    if lengths.shape != X.shape[:1]:
        raise ValueError(
            f"lengths has shape {tuple(lengths.shape)}; expected ({X.shape[0]},), one number for "
            f"each sequence of X of shape {tuple(X.shape)}."
        )


def _packed(X: torch.Tensor, lengths: torch.Tensor) -> PackedSequence:
    lengths = lengths.cpu()
    # torch would read past the end of X without an error.
    if lengths.min() < 1 or lengths.max() > X.shape[1]:
        raise ValueError(
            f"lengths must be between 1 and the {X.shape[1]} steps of X, "
            f"got {int(lengths.min())} to {int(lengths.max())}."
        )
    return pack_padded_sequence(X, lengths, batch_first=True, enforce_sorted=False)
