"""Who calls a fit: the user, or a search, an ensemble or joblib."""

import traceback


def in_meta_estimator() -> bool:
    """Say whether a search, an ensemble or joblib calls this fit, rather than the user.

    A pipeline is no meta-estimator in this sense: its last step's fit is the user's.
    """
    plain = ("sklearn.pipeline", "sklearn.base", "sklearn.callback", "sklearn.utils")
    callers = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_stack(None))
    return any(
        name.startswith("joblib") or (name.startswith("sklearn.") and not name.startswith(plain))
        for name in callers
    )
