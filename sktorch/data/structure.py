"""A module's input: one tensor, or a dict of tensors named like the arguments of ``forward``."""


def each(function, X):
    """``function(X)``, or the dict of its values for every entry of a dict."""
    return {name: function(x) for name, x in X.items()} if isinstance(X, dict) else function(X)


def leaves(X):
    """The tensors or arrays of X, a list."""
    return [*X.values()] if isinstance(X, dict) else [X]


def split(X, size):
    """X cut along its rows, a list of pieces of ``size`` rows."""
    if not isinstance(X, dict):
        return X.split(size)
    pieces = zip(*(x.split(size) for x in X.values()), strict=True)
    return [dict(zip(X, piece, strict=True)) for piece in pieces]


def call(module, X):
    """The module's output for X."""
    return module(**X) if isinstance(X, dict) else module(X)
