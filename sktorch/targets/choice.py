"""The codec for labels, chosen by y: a new kind of labels is a file and an entry here."""

from typing import Any

from sktorch.targets.codec import LabelCodec
from sktorch.targets.columns import LabelColumns
from sktorch.targets.indicators import Indicators
from sktorch.targets.labels import Labels

LABEL_CODECS: tuple[type[LabelCodec], ...] = (Labels, Indicators, LabelColumns)


def label_codec(y: Any, classes: Any = None) -> type[LabelCodec]:
    """Return the first codec that accepts y and the classes declared for it."""
    return next(codec for codec in LABEL_CODECS if codec.accepts(y, classes))
