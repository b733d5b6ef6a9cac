"""What pickle does not find in a module is pickled by its code, and comes back as the same."""

import pickle

from sktorch.workers.pickling import dumps


def test_a_class_of_here_comes_back():
    class Here:
        pass

    assert pickle.loads(dumps(Here)) is Here
    assert pickle.loads(dumps(lambda x: x + 1))(1) == 2
