"""Datasets that tests share, at module level so that they pickle."""

import numpy as np
from torch.utils.data import Dataset, IterableDataset


class Items(Dataset):
    """A map-style dataset of given samples, which counts how many were asked for."""

    def __init__(self, items, **attributes):
        self.items, self.n_made = items, 0
        vars(self).update(attributes)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, position):
        self.n_made += 1
        return self.items[position]


class ItemStream(IterableDataset):
    """The same as a stream."""

    def __init__(self, items):
        self.items = items

    def __iter__(self):
        return iter(self.items)


class Files(Dataset):
    """Samples that are read from a file each, when they are asked for."""

    def __init__(self, paths, labels):
        self.paths, self.labels = paths, labels

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, position):
        return np.load(self.paths[position]), self.labels[position]
