"""The rows that each member holds out."""

import numpy as np


def held_out_by(X: np.ndarray, y: np.ndarray, n_members: int, seed: int) -> np.ndarray:
    """Return for each row the number of the member that holds it out, of shape (n_rows,).

    Equal rows are held out together: one of them would tell a member about the other. Of rows that
    are sorted by target, each member gets as many. The order of the rows in X changes nothing.
    """
    random = np.random.default_rng(seed)
    keys = np.einsum("ij,j->i", X, random.standard_normal(X.shape[1]), dtype=np.float64)
    distinct, number = np.unique(np.column_stack([y, keys]), axis=0, return_inverse=True)
    # Each block of neighbours in the order of the targets has one row of each member.
    position = np.arange(len(distinct))
    order = np.lexsort((random.random(len(distinct)), position // n_members))
    members = np.empty_like(position)
    members[order] = position % n_members
    return members[number.ravel()]
