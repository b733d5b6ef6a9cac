"""Targets of a loss of the user's own, which says itself what its outputs predict."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sktorch._private.torch import tree_leaves
from sktorch.losses.adapters import Criterion, innermost, loss_arguments
from sktorch.losses.registry import says_predictions
from sktorch.targets.around import AroundCodec
from sktorch.targets.codec import Codec
from sktorch.targets.decoding import Decoding
from sktorch.targets.indicators import Indicators
from sktorch.targets.numbers import Numbers

# What a module returns: a tensor, or a tuple or dict of tensors.
Outputs = Any


class OwnLoss(AroundCodec):
    """The codec of a loss with a method ``predict`` or ``predict_proba``, or without a target.

    ``targets`` encodes y: labels as codes, numbers as they are. Only the loss can read outputs.
    """

    def __init__(self, targets: Codec) -> None:
        super().__init__(targets)
        self.predicts_targets = False

    def decode_predicted(self, predicted: Any) -> Any:
        """Return the labels of predicted codes, and any other predictions as they are."""
        return predicted if self.classes is None else self.decode(predicted)

    def check_criterion(self, criterion: Criterion) -> None:
        """Accept any: the loss decides what targets it learns."""

    def widths(self, criterion: Criterion) -> tuple[int, ...]:
        """Return the width that an output of these targets would have by itself, if any."""
        width = self.targets.widths(criterion)[0]
        return (width,) if width else ()

    def score_name(self, criterion: nn.Module) -> str | None:
        """Return the name of the loss's own score, else of that of the targets if it has one."""
        if hasattr(innermost(criterion), "score"):
            return "score"
        return self.targets.score_name(criterion) if self.predicts_targets else None

    def score(self, criterion: nn.Module, output: Outputs, y: np.ndarray) -> float:
        """Return what the loss's own ``score`` makes of outputs and targets."""
        loss = innermost(criterion)
        with torch.no_grad():
            if not loss_arguments(criterion).has_target:
                return float(loss.score(output))
            target = self.target(criterion, self.encode(y), output)
            return float(loss.score(output, target.to(tree_leaves(output)[0].device)))

    def check_output(self, criterion: nn.Module, output: Outputs, n_rows: int) -> None:
        """Raise if the outputs, or what the loss predicts of them, have not a row each."""
        if any(part.shape[:1] != (n_rows,) for part in tree_leaves(output)):
            raise ValueError(
                f"module returned tensors of the shapes {_shapes(output)} for a batch of {n_rows} "
                "rows; expected a row for each in all of them. Keep terms of the whole batch in an "
                "attribute of the module: a loss whose forward names `module` can read it."
            )
        if self.classes is not None and not says_predictions(criterion):
            raise TypeError(
                f"criterion {innermost(criterion)!r} takes no target. Let it take (output, "
                "target), or give it a method predict_proba(output)."
            )
        predicted = self.predicted(criterion, output)
        _check_rows(criterion, "predict", predicted, n_rows)
        if self.classes is not None:
            self._check_codes(criterion, predicted)
        if self.classes is not None and hasattr(innermost(criterion), "predict_proba"):
            _check_rows(criterion, "predict_proba", self.probabilities(criterion, output), n_rows)
        self.predicts_targets = self.classes is not None or self._is_like_y(predicted)

    def _check_codes(self, criterion: nn.Module, predicted: Tensor) -> None:
        try:
            self.decode(predicted.cpu().numpy())
        except (IndexError, ValueError, TypeError) as error:
            raise ValueError(
                f"predict of {innermost(criterion)!r} returned {predicted.dtype} of shape "
                f"{tuple(predicted.shape)}; expected the codes of classes, integers as in the "
                f"target: {error}. Change predict."
            ) from error

    def _is_like_y(self, predicted: Tensor) -> bool:
        assert isinstance(self.targets, Numbers)
        return (tuple(predicted.shape[1:]) or (1,)) == (self.targets.shape or (1,))

    def target(self, criterion: nn.Module, encoded: np.ndarray, output: Outputs) -> Tensor:
        """Return the targets as they are, in the shape of y."""
        dtypes = [part.dtype for part in tree_leaves(output) if part.is_floating_point()]
        return self.targets.plain_target(encoded, [*dtypes, torch.get_default_dtype()][0])

    @torch.no_grad()
    def predicted(self, criterion: nn.Module, output: Outputs) -> Tensor:
        """Return what the loss predicts, or the likeliest class; without either, the output."""
        return self._prediction(criterion, output)

    def _prediction(self, criterion: nn.Module, output: Outputs) -> Tensor:
        loss = innermost(criterion)
        if hasattr(loss, "predict"):
            return loss.predict(output)
        if hasattr(loss, "predict_proba"):
            return self._likeliest(loss.predict_proba(output))
        return output

    def _likeliest(self, probabilities: Tensor) -> Tensor:
        if isinstance(self.targets, Indicators):
            return (probabilities > 0.5).long()
        return probabilities.argmax(dim=-1)

    @torch.no_grad()
    def probabilities(self, criterion: nn.Module, output: Outputs) -> Tensor:
        """Return the probabilities that the loss gives."""
        return self._probabilities(criterion, output)

    def decoding(self, criterion: nn.Module, dtype: torch.dtype) -> nn.Module:
        """Return a module that makes of outputs what the loss's own methods make."""
        function = self._prediction if self.classes is None else self._probabilities
        return Decoding(function, criterion)

    def _probabilities(self, criterion: nn.Module, output: Outputs) -> Tensor:
        loss = innermost(criterion)
        if not hasattr(loss, "predict_proba"):
            raise AttributeError(
                f"criterion {loss!r} has no method predict_proba(output). Add one."
            )
        return loss.predict_proba(output)

    def decision(self, criterion: nn.Module, output: Outputs) -> Tensor:
        """Return the scores of the classes that their probabilities give."""
        probabilities = self.probabilities(criterion, output)
        if isinstance(self.targets, Indicators):
            return probabilities.logit()
        scores = probabilities.log()
        return scores[..., 1] - scores[..., 0] if scores.shape[-1] == 2 else scores

    def log_probabilities(self, criterion: nn.Module, output: Outputs) -> Tensor:
        """Return the logarithms of the probabilities that the loss gives."""
        return self.probabilities(criterion, output).log()

    def standard_deviation(self, criterion: nn.Module, output: Outputs) -> None:
        """Return None: the loss says nothing about it."""
        return


def _check_rows(criterion: nn.Module, method: str, values: Any, n_rows: int) -> None:
    """Raise TypeError if a method of the loss returned anything but a tensor of rows."""
    if isinstance(values, Tensor) and values.shape[:1] == (n_rows,):
        return
    got = tuple(values.shape) if isinstance(values, Tensor) else type(values).__name__
    raise TypeError(
        f"{method} of {innermost(criterion)!r} makes {got} of {n_rows} rows; expected a tensor "
        f"with a row each. Give the criterion a method {method}(output) that returns one."
    )


def _shapes(output: Outputs) -> list[tuple[int, ...]]:
    return [tuple(part.shape) for part in tree_leaves(output)]
