"""Raw tables made ready for a module. This folder imports numpy and scikit-learn, no torch."""

from sktorch.preprocessing._cleaner import TableCleaner, fit_transform_weighted, make_cleaner
from sktorch.preprocessing._containers import check_table
from sktorch.preprocessing._report import CleaningReport

__all__ = [
    "CleaningReport",
    "TableCleaner",
    "check_table",
    "fit_transform_weighted",
    "make_cleaner",
]
