"""Driver of Privacy Meter's RMIA: github.com/privacytrustlab/ml_privacy_meter.

Its functions take the labels' probabilities of all samples in all models, and models in pairs whose members are each
other's non-members. The victim's pair is what it tunes `offline_a` on; all references serve as such. z is the holdout.
"""

# V victims, K references, A audited samples, Z holdout samples

from __future__ import annotations

import logging

import numpy as np
from exchange import Bank, Clock, checkout, commit, run


def rmia(bank: Bank, clock: Clock) -> np.ndarray:
    """Scores of each victim as `audit.py` computes them, without its plots of the ROC."""
    checkout()
    import attacks

    holdout, scores = np.flatnonzero(bank.rest["holdout"]), []
    references, silent = bank.rows("references"), logging.getLogger("peer")
    known = {row: bank.true_class(row) for role in ("references", "victims", "paired") for row in bank.rows(role)}
    for victim, paired in zip(bank.rows("victims"), bank.rows("paired"), strict=True):
        rows = [victim, paired, *references]
        signals = np.stack([known[row][bank.audited] for row in rows], axis=1)  # (A, 2 + K)
        population = np.stack([known[row][holdout] for row in rows], axis=1)  # (Z, 2 + K)
        member = np.stack([bank.member[row, bank.audited] for row in rows], axis=1)
        with clock:
            a, _, _ = attacks.tune_offline_a(0, signals, population, member, silent)
            scores.append(attacks.run_rmia(0, signals, population, member, len(references) // 2, a))
    return np.stack(scores)


if __name__ == "__main__":
    run({"rmia": rmia}, commit)
