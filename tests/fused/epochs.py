"""Batches that are there already, as a pass takes them."""


class EpochBatches:
    """Each batch is fetched by itself; one that is an error is raised."""

    identity = None

    def __init__(self, batches):
        self._batches = [*batches]
        self.sizes = [0 if isinstance(b, OSError) else len(b[1]) for b in self._batches]

    def block(self, number):
        block = self._batches[number]
        if isinstance(block, OSError):
            raise block
        return number, block
