"""Driver of SACRO-ML (PyPI `sacroml`): its LiRA, and the classifier of its worst-case attack.

LiRA trains shadow models of its own. Here it loads "models" from its shadow folder that answer as the references do,
so it sees the predictions that everybody sees. The worst-case attack learns from the audited model's own members, which
no other attack here may see; its inputs and its forest are used as they are, but on the references' rows.
"""

# V victims, A audited samples, C classes

from __future__ import annotations

import logging
import tempfile
from importlib import import_module, metadata
from pathlib import Path

import numpy as np
from exchange import Bank, Clock, run


class Replayed:
    """A shadow model that gives what a reference answered."""

    def __init__(self, answers: np.ndarray) -> None:
        self.answers = answers  # (A, C)

    def predict_proba(self, x: np.ndarray) -> np.ndarray:
        return self.answers

    def get_classes(self) -> np.ndarray:
        return np.arange(self.answers.shape[1])


def lira(bank: Bank, clock: Clock, mode: str) -> np.ndarray:
    """Scores of each victim."""
    module, utils = (import_module(f"sacroml.attacks.{name}") for name in ("likelihood_attack", "utils"))
    logging.disable()
    references, labels = bank.rows("references"), bank.labels[bank.audited]
    with tempfile.TemporaryDirectory() as folder:
        attack = module.LIRAAttack(
            output_dir=str(Path(folder)), write_report=False, n_shadow_models=len(references), mode=mode
        )
        for index, row in enumerate(references):
            inside, outside = (np.flatnonzero(bank.member[row, bank.audited] == side) for side in (True, False))
            shadow = Replayed(bank.posteriors(row)[bank.audited])
            utils.save_shadow_model(attack.shadow_path, index, shadow, inside, outside)
        scores = []
        for victim in bank.rows("victims"):
            answers = bank.posteriors(victim)[bank.audited]
            with clock:
                out, within = attack._get_shadow_signals(answers, labels)
                found, _ = attack._compute_scores(labels, answers, out, within)
            scores.append(np.array(found)[:, 1])
    return np.stack(scores)


def worst_case(bank: Bank, clock: Clock) -> np.ndarray:
    """Scores by its forest on sorted posteriors."""
    np.random.seed(0)  # noqa: NPY002  # its forest draws from the global generator
    module = import_module("sacroml.attacks.worst_case_attack")
    logging.disable()
    inside, outside = (bank.stacked(bank.posteriors, "learners", side) for side in (True, False))
    asked = bank.stacked(bank.posteriors, "victims")
    with tempfile.TemporaryDirectory() as folder:
        attack = module.WorstCaseAttack(output_dir=folder, write_report=False)
    with clock:
        x, y = attack._prepare_attack_data(inside, outside)
        forest = attack._get_attack_model().fit(x, y)
        scores = forest.predict_proba(attack._prepare_attack_data(asked, asked[:0])[0])[:, 1]
    return scores.reshape(len(bank.rows("victims")), -1)


if __name__ == "__main__":
    run({"LIRAAttack": lira, "WorstCaseAttack's forest": worst_case}, lambda: metadata.version("sacroml"))
