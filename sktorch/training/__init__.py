"""The training loop. This folder imports torch and nothing of scikit-learn or skorch."""
