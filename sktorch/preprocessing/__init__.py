"""Raw tables made ready for a module. This folder imports numpy and scikit-learn, no torch."""

from sktorch.preprocessing._cleaner import TableCleaner, make_cleaner

__all__ = ["TableCleaner", "make_cleaner"]
