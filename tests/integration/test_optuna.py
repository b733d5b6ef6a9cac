"""Optuna's trials side by side: values, pruning, states, and what is refused."""

import subprocess
import sys
import threading
from _thread import interrupt_main

import joblib
import numpy as np
import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import TrialState
from sklearn.exceptions import FitFailedWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GroupKFold, KFold, ShuffleSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.callbacks import Callback

from sktorch import TorchClassifier
from sktorch.integration.optuna import optimize

LRS = FloatDistribution(1e-4, 1, log=True)


@pytest.fixture(autouse=True, scope="module")
def _quiet():
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    yield
    optuna.logging.set_verbosity(before)


def make_study(pruner=None, **options):
    pruner = pruner or optuna.pruners.NopPruner()
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=3)
    return optuna.create_study(
        **{"direction": "maximize", "sampler": sampler, "pruner": pruner} | options
    )


def classifier(**parameters):
    return TorchClassifier(**{"max_epochs": 6, "random_state": 0} | parameters)


def optimized(data, estimator=None, study=None, **options):
    study = study or make_study()
    given = {"distributions": {"lr": LRS}, "n_trials": 6, "n_at_once": 3, "cv": 2} | options
    optimize(study, classifier() if estimator is None else estimator, *data, **given)
    return study


def states(study):
    return [trial.state for trial in study.trials]


@pytest.mark.parametrize(
    ("prune", "epochs"), [(True, [4, 6]), (False, []), ([2, 4, 9], [2, 4, 6])], ids=str
)
def test_values_are_those_of_a_cross_validation_alone(iris, prune, epochs):
    study = optimized(iris, prune=prune)
    assert states(study) == [TrialState.COMPLETE] * 6
    for trial in study.trials:
        alone = cross_val_score(classifier(**trial.params), *iris, cv=2).mean()
        assert trial.value == pytest.approx(alone, abs=0.01)  # A row may be as good as tied.
        assert [*trial.intermediate_values] == epochs


def test_what_is_reported_is_the_score_after_so_many_epochs(iris):
    for trial in optimized(iris, prune=range(1, 6)).trials:
        for n_epochs, value in trial.intermediate_values.items():
            net = classifier(max_epochs=n_epochs, **trial.params)
            alone = cross_val_score(net, *iris, cv=2).mean()
            assert value == pytest.approx(alone, abs=0.01)


def test_the_same_search_twice(iris):
    def found():
        study = optimized(iris, study=make_study(optuna.pruners.MedianPruner(2)))
        return [(t.params, t.value, t.state, t.intermediate_values) for t in study.trials]

    assert found() == found()


def test_a_trial_that_cant_win_is_pruned_and_the_others_are_as_without(iris):
    def by_lr(pruner):
        study = make_study(pruner)
        for lr in [1e-2, 1e-4, 3e-2, 1e-1]:
            study.enqueue_trial({"lr": lr})
        optimized(iris, study=study, n_trials=4, n_at_once=2)
        return {trial.params["lr"]: trial for trial in study.trials}

    everything = by_lr(None)
    pruned = by_lr(optuna.pruners.ThresholdPruner(lower=0.6, n_warmup_steps=4))
    loser = pruned.pop(1e-4)
    assert (loser.state, loser.last_step) == (TrialState.PRUNED, 4)
    for lr, trial in pruned.items():
        assert trial.state is TrialState.COMPLETE
        assert trial.value == everything[lr].value


def test_a_function_makes_pipelines_of_any_structure(iris):
    def make(trial):
        hidden = (trial.suggest_int("width", 4, 32),) * trial.suggest_int("depth", 1, 2)
        net = classifier(module__hidden=hidden, lr=0.01)
        return make_pipeline(StandardScaler(), net) if trial.number % 2 else net

    study = optimized(iris, make, distributions=None)
    assert states(study) == [TrialState.COMPLETE] * 6
    assert {*study.best_params} == {"width", "depth"}


def test_a_function_may_prune(iris):
    def make(trial):
        if trial.suggest_float("lr", 1e-3, 1e-1) and trial.number == 1:
            raise optuna.TrialPruned
        return classifier(lr=trial.params["lr"])

    study = optimized(iris, make, distributions=None)
    assert states(study).count(TrialState.PRUNED) == 1
    assert states(study).count(TrialState.COMPLETE) == 5


def test_estimators_without_epochs(iris):
    study = optimized(iris, LogisticRegression(), distributions={"C": FloatDistribution(0.1, 10)})
    assert states(study) == [TrialState.COMPLETE] * 6
    assert study.best_value > 0.9


def test_options_of_a_cross_validation(iris):
    X, y = iris
    weights = np.where(y == 0, 1.0, 0.0)  # A net that knows one class alone.
    splits = ShuffleSplit(2, random_state=0)
    options = {"cv": splits, "scoring": "balanced_accuracy", "params": {"sample_weight": weights}}
    for trial in optimized((X, y), classifier(lr=0.1), **options).trials:
        assert trial.value == pytest.approx(1 / 3)
    shuffled = optimized((X, y), cv=KFold(3, shuffle=True), prune=True)  # one draw of the folds
    assert states(shuffled) == [TrialState.COMPLETE] * 6
    groups = {"groups": np.arange(len(y)) % 5}
    grouped = optimized((X, y), cv=GroupKFold(3), params=groups)
    assert states(grouped) == [TrialState.COMPLETE] * 6


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_trials_train_side_by_side_whatever_number_is_configured(iris, n_jobs):
    with joblib.parallel_config(n_jobs=n_jobs):
        study = optimized(iris, prune=[1])
    assert states(study) == [TrialState.COMPLETE] * 6


def test_the_last_trials_are_fewer(iris):
    study = optimized(iris, n_trials=5, n_at_once=4)
    assert len(study.trials) == 5
    optimized(iris, study=study, n_trials=2, n_at_once=10)
    assert len(study.trials) == 7


def test_trials_that_fail_are_told_and_the_others_go_on(iris):
    widths = {"module__hidden": CategoricalDistribution([8, "wide"])}
    with pytest.warns(FitFailedWarning, match=r"of 6 trials failed, the first with .*attribute"):
        study = optimized(iris, distributions=widths)
    failed = [t for t in study.trials if t.params["module__hidden"] == "wide"]
    assert failed
    assert all(t.state is TrialState.FAIL and t.user_attrs["error"] for t in failed)
    assert states(study).count(TrialState.COMPLETE) == 6 - len(failed)


def test_trials_that_diverge_teach_the_sampler(iris):
    lrs = {"lr": CategoricalDistribution([1e-2, 1e38])}
    study = optimized(iris, distributions=lrs)
    diverged = [t for t in study.trials if t.params["lr"] == 1e38]
    assert diverged
    assert all(t.state is TrialState.PRUNED for t in diverged)
    assert all(
        "finite" in t.user_attrs["error"] or "nan" in t.user_attrs["error"] for t in diverged
    )


def not_a_number(estimator, X, y):
    return np.nan if estimator.lr > 0.01 else 0.5


def test_a_score_of_nan_is_a_failure(iris):
    with pytest.warns(FitFailedWarning, match="The score is NaN"):
        study = optimized(iris, scoring=not_a_number)
    for trial in study.trials:
        is_nan = trial.params["lr"] > 0.01
        assert trial.state is (TrialState.FAIL if is_nan else TrialState.COMPLETE)


def test_if_all_fail_an_error_says_why(iris):
    study = make_study()
    with pytest.raises(ValueError, match=r"All 6 trials failed, the first with .*gradient_clip"):
        optimized(iris, classifier(gradient_clip=-1), study)
    assert states(study) == [TrialState.FAIL] * 6


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_an_error_of_the_function_leaves_no_trial_running(iris, error):
    def make(trial):
        if trial.number == 4:
            raise error
        return classifier(lr=0.01)

    study = make_study()
    with pytest.raises(error):
        optimized(iris, make, study, distributions=None)
    assert states(study) == [TrialState.COMPLETE] * 3 + [TrialState.FAIL] * 2


class Pressing(Callback):
    """Presses Ctrl-C once, in the third epoch."""

    pressed = threading.Event()

    def on_epoch_end(self, net, **kwargs):
        if len(net.history) == 3 and not self.pressed.is_set():
            self.pressed.set()
            interrupt_main()


@pytest.mark.parametrize("prune", [True, False])
def test_ctrl_c_leaves_no_trial_running_and_the_study_goes_on(iris, prune):
    Pressing.pressed.clear()
    study = make_study()
    with pytest.raises(KeyboardInterrupt):
        optimized(iris, classifier(callbacks=[Pressing()]), study, prune=prune)
    assert states(study) == [TrialState.FAIL] * 3
    assert not [t for t in threading.enumerate() if t.name == "sktorch task"]
    optimized(iris, study=study)
    assert states(study)[3:] == [TrialState.COMPLETE] * 6


def test_a_study_in_a_file(iris, tmp_path):
    storage = optuna.storages.RDBStorage(f"sqlite:///{tmp_path / 'study.db'}")
    optimized(iris, study=make_study(storage=storage, study_name="iris"))
    loaded = optuna.load_study(study_name="iris", storage=storage)
    assert states(loaded) == [TrialState.COMPLETE] * 6
    assert [*loaded.trials[0].intermediate_values] == [4, 6]
    storage.engine.dispose()


WRONG = {
    "minimize": ({"study": {"direction": "minimize"}}, ValueError, r"directions \['minimize'\]"),
    "two objectives": (
        {"study": {"direction": None, "directions": ["maximize"] * 2}},
        ValueError,
        "direction='maximize'",
    ),
    "nothing to search": ({"distributions": None}, ValueError, "nothing to search"),
    "several metrics": ({"scoring": ["accuracy", "f1_macro"]}, ValueError, "one objective"),
    "no trial": ({"n_trials": 0}, ValueError, "n_trials=0 must be a positive integer"),
    "none at once": ({"n_at_once": 0.5}, ValueError, "n_at_once=0.5 must be a positive"),
    "no epoch": ({"prune": [0, 3]}, ValueError, r"prune=\[0, 3\] must be True, False or"),
    "a name that is unknown": ({"distributions": {"rate": LRS}}, ValueError, "no parameter 'rate'"),
}


@pytest.mark.parametrize(("given", "error", "match"), WRONG.values(), ids=WRONG)
def test_wrong_inputs(iris, given, error, match):
    study = make_study(**given.pop("study", {}))
    with pytest.raises(error, match=match):
        optimized(iris, study=study, **given)
    assert TrialState.RUNNING not in states(study)


def test_without_optuna_an_error_names_the_extra():
    code = """
import sys
sys.modules["optuna"] = None
import sktorch.integration
try:
    import sktorch.integration.optuna
except ImportError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "pip install 'sktorch[optuna]'" in done.stdout
