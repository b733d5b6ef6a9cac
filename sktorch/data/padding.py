"""Sequences of different lengths, padded to one batch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import default_collate


def pad_sequences(samples: list) -> tuple:
    """Pad the sequences of a batch with zeros, to the longest; a ``collate_fn`` for `DataLoader`.

    Parameters
    ----------
    samples : list
        Tuples (sequence, target), (sequence, target, weight) and so on, or bare sequences. A
        sequence is a tensor or array of shape (n_steps, ...), n_steps of its own, the rest and the
        dtype the same for all.

    Returns
    -------
    inputs : tuple of (padded, lengths)
        Tensors of shape (n_samples, longest, ...), of the sequences' dtype, and of shape
        (n_samples,), int64: the arguments of the ``forward`` of `sktorch.modules.RecurrentNet`.
        This alone is returned for bare sequences.
    *others : torch.Tensor
        Targets, and so on, put together by ``torch.utils.data.default_collate``.

    Raises
    ------
    ValueError
        If a sequence is a scalar, is empty, or has another shape after its first dimension or
        another dtype than the first; if the tuples are of different lengths.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import DataLoader
    >>> from sktorch.data.padding import pad_sequences
    >>> samples = [(torch.ones(2, 1), 0), (torch.ones(3, 1), 1)]
    >>> (X, lengths), y = next(iter(DataLoader(samples, 2, collate_fn=pad_sequences)))
    >>> X[:, :, 0]
    tensor([[1., 1., 0.],
            [1., 1., 1.]])
    >>> lengths, y
    (tensor([2, 3]), tensor([0, 1]))
    """
    if not isinstance(samples[0], tuple):
        return _padded(samples)
    n_fields = {len(sample) for sample in samples}
    if len(n_fields) > 1:
        raise ValueError(f"samples must be tuples of one length, got {sorted(n_fields)}.")
    sequences, *others = zip(*samples, strict=True)
    inputs = _padded(sequences)
    return (inputs, *(default_collate([*other]) for other in others)) if others else inputs


def _tensor_of(sequence: Any) -> torch.Tensor:
    if isinstance(sequence, np.ndarray) and not sequence.flags.writeable:
        sequence = sequence.copy()  # torch warns that it could be written to
    return torch.as_tensor(sequence)


def _padded(sequences: Sequence[Any]) -> tuple[torch.Tensor, torch.Tensor]:
    tensors = [_tensor_of(sequence) for sequence in sequences]
    first = tensors[0]
    for position, tensor in enumerate(tensors):
        if tensor.ndim == 0 or len(tensor) == 0:
            found = "a scalar" if tensor.ndim == 0 else "empty"
            raise ValueError(
                f"sequence {position} of the batch is {found}; expected shape (n_steps, ...) with "
                "at least one step."
            )
        if tensor.shape[1:] != first.shape[1:] or tensor.dtype != first.dtype:
            raise ValueError(
                f"sequence {position} of the batch has shape {tuple(tensor.shape)} and "
                f"{tensor.dtype}, the first {tuple(first.shape)} and {first.dtype}; only their "
                "first dimension may differ."
            )
    lengths = torch.tensor([len(tensor) for tensor in tensors])
    return pad_sequence(tensors, batch_first=True), lengths
