"""
Trials of Optuna as one program
===============================

A study proposes ten trials at a time; all their folds train side by side, and the study's pruner
ends those that fall behind. Needs Optuna: ``pip install "sktorch[optuna]"``. Data: the handwritten
digits that come with scikit-learn.
"""

# %%
# What is searched
# ----------------
# A function makes an estimator of a trial's suggestions, as Optuna's objectives do.
import optuna
from sklearn.datasets import load_digits
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sktorch import TorchClassifier
from sktorch.integration.optuna import optimize

X, y = load_digits(return_X_y=True)
X = X.astype("float32")


def make_model(trial):
    net = TorchClassifier(
        module__hidden=(trial.suggest_categorical("width", [32, 64]),),
        lr=trial.suggest_float("lr", 1e-4, 1.0, log=True),
        optimizer__weight_decay=trial.suggest_float("weight_decay", 1e-4, 0.1, log=True),
        batch_size=32,
        max_epochs=16,
        random_state=0,
    )
    return make_pipeline(StandardScaler(), net)


# %%
# The search
# ----------
optuna.logging.set_verbosity(optuna.logging.WARNING)
study = optuna.create_study(
    direction="maximize",
    sampler=optuna.samplers.TPESampler(seed=0),
    pruner=optuna.pruners.MedianPruner(),
)
optimize(study, make_model, X, y, n_trials=40, n_at_once=10, cv=3)

# %%
# What became of it
# -----------------
for trial in study.trials:
    lr, value = trial.params["lr"], trial.value
    print(f"{trial.state.name:8} at epoch {trial.last_step:2}, lr={lr:.2g}: {value:.3f}")
print(f"Best mean accuracy: {study.best_value:.4f} with {study.best_params}")

# %%
# Pruned trials have the accuracy of the epoch at which they ended.
import matplotlib.pyplot as plt

figure, ax = plt.subplots(figsize=(6.4, 4), layout="constrained")
for state in ("COMPLETE", "PRUNED"):
    trials = [trial for trial in study.trials if trial.state.name == state]
    lrs = [trial.params["lr"] for trial in trials]
    ax.plot(lrs, [trial.value for trial in trials], "o", alpha=0.7, label=state.lower())
ax.set(xscale="log", xlabel="lr", ylabel="mean accuracy of the folds")
ax.legend()
plt.show()
