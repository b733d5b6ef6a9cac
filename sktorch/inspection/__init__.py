"""Look at what was trained: learning curves, searches, modules and tables."""

from sktorch.inspection._learning_curves import LearningCurveDisplay

__all__ = ["LearningCurveDisplay"]
