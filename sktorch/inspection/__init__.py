"""Look at what was trained: learning curves, searches, modules and tables."""

from sktorch.inspection._candidate_curves import CandidateCurvesDisplay
from sktorch.inspection._candidates import CandidatesDisplay
from sktorch.inspection._cleaning import CleaningDisplay
from sktorch.inspection._learning_curves import LearningCurveDisplay
from sktorch.inspection._learning_rates import LearningRateDisplay
from sktorch.inspection._summary import ModuleSummary, summary

__all__ = [
    "CandidateCurvesDisplay",
    "CandidatesDisplay",
    "CleaningDisplay",
    "LearningCurveDisplay",
    "LearningRateDisplay",
    "ModuleSummary",
    "summary",
]
