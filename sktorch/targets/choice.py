"""The codec for labels, chosen by y: a new kind of labels is a file and an entry here."""

from typing import Any

from sktorch.targets.codec import LabelCodec
from sktorch.targets.columns import LabelColumns
from sktorch.targets.entries import EntryLabels
from sktorch.targets.indicators import Indicators
from sktorch.targets.labels import Labels

LABEL_CODECS: tuple[type[LabelCodec], ...] = (EntryLabels, Labels, Indicators, LabelColumns)


def label_codec(y: Any, classes: Any = None, per_entry: bool = False) -> type[LabelCodec]:
    """Return the first codec that accepts y and the classes declared for it.

    A matrix has columns of labels, or indicators, unless it is said to have a label ``per_entry``.
    """
    if per_entry:
        return EntryLabels
    return next(codec for codec in LABEL_CODECS if codec.accepts(y, classes))
