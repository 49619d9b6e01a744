"""Audit predictions that you have: here those of six small networks of scikit-learn, each trained on its own half.

Run it where the results shall lie: python audit_predictions.py
"""

import warnings
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

import pruneaudit
from pruneaudit.api import audit_files

# M models, N samples, C classes
NUM_MODELS = 6


def log_probabilities(x: np.ndarray, y: np.ndarray, member: np.ndarray, seed: int) -> np.ndarray:
    """What a network that was trained on its members says of all samples (N, C); logits serve as well."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # thirty epochs are enough to memorise
        network = MLPClassifier((64,), max_iter=30, random_state=seed).fit(x[member], y[member])
    return network.predict_log_proba(x)


def main() -> None:
    """Trains, asks, saves and audits."""
    x, y = load_digits(return_X_y=True)
    x, y = x[:600] / 16, y[:600]
    # A coin for every model and sample. Attacks such as lira need that; loss and other simple ones do not.
    member = np.random.default_rng(0).random((NUM_MODELS, len(y))) < 0.5  # (M, N)
    logits = np.stack([log_probabilities(x, y, row, seed) for seed, row in enumerate(member)])  # (M, N, C)
    file = Path("predictions.npz")
    pruneaudit.Signals(logits=logits, labels=y, member=member).save(file)

    run = audit_files(file, attacks="loss,lira,rmia", out="audit")
    findings = run.audit.findings
    shown = findings[findings["victim"] == "mean"][["attack", "auc", "auc_low", "auc_high"]]
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    print(f"report: {run.report}")


if __name__ == "__main__":
    main()
