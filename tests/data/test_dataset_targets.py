"""The samples of a dataset decide what is learnt, whatever its attributes say."""

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, IterableDataset, Subset, TensorDataset

from sktorch import TorchClassifier, TorchRegressor
from sktorch.data import SliceableDataset, make_loaders


def rows(n=60):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(n, 4, generator=generator), torch.arange(n) % 3


class Relabelling(TensorDataset):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x, 2 - y


class Merging(TensorDataset):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x, (y > 0).long()


class Filtering(TensorDataset):
    """Holds three classes, returns the rows of two."""

    def __len__(self):
        return int((self.tensors[1] > 0).sum())

    def __getitem__(self, i):
        return super().__getitem__(int(torch.nonzero(self.tensors[1] > 0)[i]))


class Repeating(TensorDataset):
    def __len__(self):
        return 2 * super().__len__()

    def __getitem__(self, i):
        return super().__getitem__(i // 2)


class Reversing(Subset):
    def __getitem__(self, i):
        return super().__getitem__(len(self) - 1 - i)

    def __getitems__(self, rows):
        return [self[i] for i in rows]


class Relabelled(ConcatDataset):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x, 2 - y


class WithAttribute(Dataset):
    """Like a dataset of torchvision, with an attribute that may say something else."""

    def __init__(self, X, y, targets):
        self.X, self.y, self.targets = X, y, targets

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return self.X[i], int(self.y[i])


X, Y = rows()

DATASETS = {
    "tensors": TensorDataset(X, Y),
    "attribute that agrees": WithAttribute(X, Y, Y.tolist()),
    "part": Subset(TensorDataset(X, Y), [5, 3, 8, 1, 0, 10, 11, 12]),
    "parts": ConcatDataset([TensorDataset(X[:20], Y[:20]), TensorDataset(X[20:], Y[20:])]),
    "relabels": Relabelling(X, Y),
    "merges classes": Merging(X, Y),
    "filters": Filtering(X, Y),
    "repeats": Repeating(X, Y),
    "attribute of other labels": WithAttribute(X, Y, (2 - Y).tolist()),
    "attribute of names": WithAttribute(X, Y, ["a", "b", "c"] * 20),
    "attribute of fewer rows": WithAttribute(X, Y, Y[:40].tolist()),
    "attribute of more rows": WithAttribute(X, Y, torch.cat([2 - Y, Y])),
    "attribute that is a method": WithAttribute(X, Y, Y.tolist),
    "attribute that is a word": WithAttribute(X, Y, "labels"),
    "part of one that relabels": Subset(Relabelling(X, Y), [5, 3, 8, 1, 0, 10, 11, 12]),
    "parts of which one relabels": ConcatDataset(
        [Relabelling(X[:20], Y[:20]), TensorDataset(X[20:], Y[20:])]
    ),
    "part that reverses": Reversing(TensorDataset(X, Y), [0, 1, 2, 3, 4, 5]),
    "parts that relabel": Relabelled([TensorDataset(X[:20], Y[:20]), TensorDataset(X, Y)]),
    "part of a part": Subset(Subset(Merging(X, Y), range(30)), range(0, 30, 2)),
}
by_dataset = pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS.keys())


def labels_of(dataset):
    """The labels that the samples hold."""
    return np.array([int(dataset[i][-1]) for i in range(len(dataset))])


def net(**parameters):
    return TorchClassifier(**{"max_epochs": 2, "random_state": 0} | parameters)


def weights_of(estimator):
    return torch.cat([p.detach().flatten() for p in estimator.module_.parameters()])


@by_dataset
def test_a_sliceable_dataset_shows_the_targets_of_its_samples(dataset):
    sliceable = SliceableDataset(dataset)
    np.testing.assert_array_equal(sliceable.targets, labels_of(dataset))
    np.testing.assert_array_equal(sliceable[::-2].targets, labels_of(dataset)[::-2])


@by_dataset
def test_a_net_learns_the_labels_that_the_samples_hold(dataset):
    labels = labels_of(dataset)
    learnt = net().fit(dataset)
    np.testing.assert_array_equal(learnt.classes_, np.unique(labels))
    told = net().fit(SliceableDataset(dataset), labels)
    torch.testing.assert_close(weights_of(learnt), weights_of(told), rtol=0, atol=0)


@by_dataset
def test_score_compares_with_the_labels_that_the_samples_hold(dataset):
    learnt = net().fit(X, Y % 3)
    right = learnt.predict(dataset) == labels_of(dataset)
    assert learnt.score(dataset) == pytest.approx(right.mean())


@by_dataset
def test_validation_compares_with_the_labels_that_the_samples_hold(dataset):
    learnt = net(validation=dataset, max_epochs=1).fit(X, Y)
    right = learnt.predict(dataset) == labels_of(dataset)
    assert learnt.history_[-1, "valid_acc"] == pytest.approx(right.mean())


@by_dataset
def test_loaders_give_the_labels_that_the_samples_hold(dataset):
    loader, _ = make_loaders(dataset, validation_fraction=None, shuffle=False, batch_size=7)
    given = torch.cat([y for _, y in loader]).numpy()
    codes = np.unique(labels_of(dataset), return_inverse=True)[1]
    np.testing.assert_array_equal(given, codes)


class Rescaling(TensorDataset):
    def __getitem__(self, i):
        x, y = super().__getitem__(i)
        return x, y / 100


@pytest.mark.parametrize("kind", [TensorDataset, Rescaling])
def test_a_regressor_predicts_in_the_scale_of_the_samples(kind):
    dataset = kind(X, 100 * X.sum(1))
    learnt = TorchRegressor(lr=0.01, max_epochs=100, random_state=0).fit(dataset)
    numbers = np.array([float(dataset[i][1]) for i in range(len(dataset))])
    assert np.abs(learnt.predict(dataset) - numbers).mean() < 0.5 * numbers.std()
    assert learnt.score(dataset) > 0.5


def test_of_several_tensors_the_last_part_of_a_sample_is_the_target():
    class TargetInTheMiddle(TensorDataset):
        def __getitem__(self, i):
            x, y, z = super().__getitem__(i)
            return torch.cat([x, z]), y

    dataset = TargetInTheMiddle(X, Y, 1 - X)
    learnt = net().fit(dataset)
    np.testing.assert_array_equal(learnt.classes_, [0, 1, 2])
    assert learnt.input_shape_ == (8,)


def test_a_stream_with_an_attribute_is_read_from_its_samples():
    class Flow(IterableDataset):
        targets = ["x", "y"] * 30

        def __iter__(self):
            return iter([(x, int(y)) for x, y in zip(X, Y, strict=True)])

    np.testing.assert_array_equal(net().fit(Flow()).classes_, [0, 1, 2])
