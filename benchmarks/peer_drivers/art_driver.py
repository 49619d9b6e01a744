"""Driver of adversarial-robustness-toolbox (PyPI): `MembershipInferenceBlackBox` on given predictions and labels."""

# V victims, A audited samples

from __future__ import annotations

from importlib import import_module, metadata
from typing import Any

import numpy as np
from exchange import Bank, Clock, run, warm_up


def black_box(bank: Bank, clock: Clock, kind: str, **settings: Any) -> np.ndarray:
    """Learns from the learners' rows, and scores the victims'."""
    np.random.seed(0)  # noqa: NPY002  # its forests draw from the global generator
    if kind == "nn":
        import torch

        warm_up()
        torch.manual_seed(0)
    estimators = import_module("art.estimators.classification")
    attacks = import_module("art.attacks.inference.membership_inference")
    num_classes = int(bank.labels.max()) + 1
    estimator = estimators.BlackBoxClassifier(lambda x: x, (num_classes,), num_classes)
    attack = attacks.MembershipInferenceBlackBox(estimator, attack_model_type=kind, **settings)
    sides = [
        {name: bank.stacked(get, "learners", members) for name, get in _answers(bank).items()}
        for members in (True, False)
    ]
    asked = {name: bank.stacked(get, "victims") for name, get in _answers(bank).items()}
    with clock:
        attack.fit(pred=sides[0]["pred"], y=sides[0]["y"], test_pred=sides[1]["pred"], test_y=sides[1]["y"])
        scores = attack.infer(None, asked["y"], pred=asked["pred"], probabilities=True)
    scores = scores[:, 1] if scores.ndim == 2 and scores.shape[1] == 2 else scores.ravel()
    return scores.reshape(len(bank.rows("victims")), -1)


def _answers(bank: Bank) -> dict[str, Any]:
    return {"pred": bank.posteriors, "y": lambda row: bank.labels}


if __name__ == "__main__":
    run({"MembershipInferenceBlackBox": black_box}, lambda: metadata.version("adversarial-robustness-toolbox"))
