"""The rows that each member holds out."""

import numpy as np

# More equal rows than this are no repetition: they differ in what X does not tell.
MAX_REPEATED = 4


def held_out_by(X: np.ndarray, y: np.ndarray, n_members: int, seed: int) -> np.ndarray:
    """Return for each row the number of the member that holds it out, of shape (n_rows,).

    Equal rows are held out together, whatever their targets: one of them would tell a member about
    the other. If there are many of them, as in a table of few categories, each member holds out a
    part: without all of them it would know nothing of that place. Of rows that are sorted by
    target, each member gets as many. The order of distinct rows in X changes nothing.
    """
    random = np.random.default_rng(seed)
    keys = np.einsum("ij,j->i", X, random.standard_normal(X.shape[1]), dtype=np.float64)
    _, number, counts = np.unique(keys, return_inverse=True, return_counts=True)
    is_dealt = counts[number.ravel()] > MAX_REPEATED
    copies = np.where(is_dealt, 1 + np.arange(len(y)), 0)
    _, first, number = np.unique(
        np.column_stack([keys, copies]), axis=0, return_index=True, return_inverse=True
    )
    number = number.ravel()
    targets = y[first].copy()
    np.minimum.at(targets, number, y)
    # Each block of neighbours in the order of the targets has one row of each member.
    position = np.empty(len(first), dtype=np.intp)
    position[np.lexsort((np.arange(len(first)), targets))] = np.arange(len(first))
    members = np.empty_like(position)
    order = np.lexsort((random.random(len(first)), position // n_members))
    members[order] = np.arange(len(first)) % n_members
    return members[number]
