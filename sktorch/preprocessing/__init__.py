"""Raw tables made ready for a module. This folder imports numpy and scikit-learn, no torch."""

# Those with "as" are for the other rooms, and not public.
from sktorch.preprocessing._cleaner import (
    TableCleaner,
    make_cleaner,
)
from sktorch.preprocessing._cleaner import (
    fit_transform_weighted as fit_transform_weighted,
)
from sktorch.preprocessing._containers import check_table as check_table
from sktorch.preprocessing._report import CleaningReport

__all__ = ["CleaningReport", "TableCleaner", "make_cleaner"]
