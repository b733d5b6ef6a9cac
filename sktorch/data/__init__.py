"""From arrays to batches. This folder imports torch, numpy and scipy.sparse only."""
