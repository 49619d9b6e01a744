"""Forgetting: how much does the sample's probability fall if a copy of the network is trained further without it?

Watson et al. 2022 (arXiv 2111.08440) calibrate by a copy of the attacked network that is trained further on other
samples. Here the copy is the reference: training on half A of the holdout makes it forget members, so no network has to
be trained from scratch. The difference of confidences alone has no power at low false-positive rates; the score is
RMIA's ratio (arXiv 2312.03262), r_x = p_y(x | network) / (((1 + a) p_y(x | copy) + 1 - a) / 2), as the share of nulls
z, half B of the holdout, with r_x >= r_z. No copy has seen these.

A study makes a copy for each attacked network: `EPOCHS` epochs with the study's training settings, without constraints
of compression, because the copy is the attacker's own. The paper trains for 20 epochs. a is tuned on references that
have copies (`tuning.py`); without any it is .3.
"""

# V victims, K references, P pseudo-victims, N samples

from __future__ import annotations

import numpy as np
from pydantic import Field

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.ratios import PUBLISHED_A, offline_score, share_beaten
from pruneaudit.attacks.tuning import Tunable, constant
from pruneaudit.core import options
from pruneaudit.signals.derived import log_probability, probability
from pruneaudit.signals.signals import Signals

EPOCHS = 10
"""Fixed before any result."""


class Options(options.Options):
    """Settings of forgetting."""

    a: float | None = Field(default=None, ge=0, le=1)
    """RMIA's a. Default: tuned on references that have copies of their own; without any 0.3."""


class Forgetting(Attack[Options]):
    """Share of nulls that the sample beats in probability relative to a copy that was trained further."""

    needs = frozenset({"forgetting", "fitting", "holdout"})

    def num_trainings(self, attack_input: AttackInput) -> int:
        """The copy; where a is tuned, also the references and a copy of each."""
        num_references = int(attack_input.allowed.sum(axis=1).max()) if self._tunes(attack_input) else 0
        return 1 + 2 * num_references

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim by its own copy; `rng` deals folds where a is tuned."""
        attacked, rows = attack_input.attacked, attack_input.victims
        assert attacked.forgotten is not None  # `lacks` refuses signals without
        tunable = Tunable("a", PUBLISHED_A, offline_score, _of_own_copy, min_references=1)
        a = constant(tunable, self.options.a, attack_input, rng, self._tunes(attack_input))
        copy = probability(attacked.forgotten[rows])  # (V, N)
        ratios = offline_score(log_probability(attacked.phi[rows, :, 0]), copy, a.values)
        scores = np.stack([share_beaten(row, row[attack_input.nulls]) for row in ratios])
        scores[~attack_input.eligible] = np.nan
        return Scores(scores, variant=f"{EPOCHS} epochs on {int(attack_input.fitting.sum())} samples, {a.variant}")

    def _tunes(self, attack_input: AttackInput) -> bool:
        has_copies = bool(attack_input.references) and attack_input.reference.forgotten is not None
        return self.options.a is None and has_copies


def _of_own_copy(signals: Signals, rows: np.ndarray, pseudo: np.ndarray, samples: np.ndarray) -> np.ndarray:
    """p_y under the copy of each pseudo-victim, (P, N)."""
    assert signals.forgotten is not None
    return probability(signals.forgotten[np.ix_(rows[pseudo], samples)])


ATTACK = Forgetting
