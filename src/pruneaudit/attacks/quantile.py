"""Quantile regression: is the network more confident about the sample than about equally hard ones?

Bertran et al. 2023 (arXiv 2307.03694). A regression predicts the scaled confidence of a network that was not trained on
a sample, from the sample alone: a mean mu(x, y) and a spread s(x, y). Score: the rank of (phi - mu) / s among nulls.

Half A of the holdout teaches the regression, half B provides the nulls, so that the rank is one minus the p-value of
"not a member", and is comparable between networks. Inputs of the regression are the label and `features`, numbers that
are computed from x alone; answers of a network would reveal its members.

Deviations from the paper: a Gaussian head, the paper's alternative to its 41 quantile levels, of two ridge regressions
instead of a fine-tuned network, because the holdout has a few hundred samples. The ridge penalties are constants: on
the demo's bank, a third or three times the first moved the AUC by .001.
"""

# M models, N samples, Z samples of half A, D columns of the regression

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.ranks import ranked
from pruneaudit.core.options import Options

MEAN_PENALTY, SPREAD_PENALTY = 30.0, 1000.0
"""Ridge penalties, for columns of unit variance: residuals say less about their spread than values about their mean."""
LEAST_SPREAD = 0.1
"""Added to residuals, as a fraction of their standard deviation: a tiny one is chance."""


class Quantile(Attack[Options]):
    """Rank, among nulls, of how far phi exceeds what the sample itself predicts."""

    needs = frozenset({"features", "fitting", "holdout"})

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores each victim, and each reference, by its own answers. `rng` is not used."""
        design, attacked = _design(attack_input), attack_input.attacked
        references = None
        if attack_input.references:
            references = _scores(attack_input.reference.phi[..., 0], design, attack_input)
        if references is not None and attack_input.reference is attacked:
            victims = references[attack_input.victims]
        else:
            victims = _scores(attacked.phi[attack_input.victims, :, 0], design, attack_input)
        victims[~attack_input.eligible] = np.nan
        return Scores(victims, references, f"fitted on {int(attack_input.fitting.sum())} samples")


def _design(attack_input: AttackInput) -> np.ndarray:
    """One column per class and per feature (N, D), the features scaled to unit variance on half A."""
    signals, fitting = attack_input.attacked, attack_input.fitting
    assert signals.features is not None  # `lacks` refuses signals without
    features = signals.features.astype(np.float64)
    scale = features[fitting].std(axis=0)
    return np.hstack([np.eye(signals.num_classes)[signals.labels], features / np.where(scale > 0, scale, 1)])


def _scores(phi: np.ndarray, design: np.ndarray, attack_input: AttackInput) -> np.ndarray:
    """Scores (M, N) from phi (M, N)."""
    fitting = attack_input.fitting
    residuals = phi - _ridge(design, phi[:, fitting], fitting, MEAN_PENALTY)
    known = residuals[:, fitting] ** 2  # (M, Z)
    least = LEAST_SPREAD**2 * known.mean(axis=1, keepdims=True)
    log_spread = _ridge(design, np.log(known + least + np.finfo(float).tiny) / 2, fitting, SPREAD_PENALTY)
    return ranked(residuals * np.exp(-log_spread), attack_input.nulls)


def _ridge(design: np.ndarray, targets: np.ndarray, fitting: np.ndarray, penalty: float) -> np.ndarray:
    """Predictions (M, N) of a ridge regression with an intercept, taught by targets (M, Z) on half A."""
    known = design[fitting]
    centre, mean = known.mean(axis=0), targets.mean(axis=1, keepdims=True)
    known = known - centre
    gram = known.T @ known + penalty * np.eye(known.shape[1])
    weights = np.linalg.solve(gram, known.T @ (targets - mean).T)  # (D, M)
    return np.asarray(mean + ((design - centre) @ weights).T)


ATTACK = Quantile
