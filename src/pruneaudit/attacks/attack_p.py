"""Attack P: is the sample's loss low among losses of samples that are certainly not members?

Ye et al. 2022 (arXiv 2111.09679). Score: the fraction of reserve samples whose scaled confidence under
the victim is at most the sample's, which is one minus the p-value of the hypothesis "not a member".
Within a victim it ranks as `loss` does; between victims it compares. Ties of the fraction are broken by
the confidence itself, by less than one step.
"""

# V victims, N samples, Z reserve samples

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.view import Scores, View

TIE_STEP = 1e-7


class AttackP(Attack):
    """Rank of the sample's confidence among the reserve's."""

    needs = frozenset({"reserve"})

    def score(self, view: View, rng: np.random.Generator) -> Scores:
        """Scores every victim on its own reserve; references are scored alike. `rng` is not used."""
        victims = _ranked(view.attacked.phi[view.victims, :, 0], view.attacked.reserve)
        victims[~view.eligible] = np.nan
        references = _ranked(view.reference.phi[..., 0], view.attacked.reserve) if view.references else None
        return Scores(victims, references, "z from the reserve")


def _ranked(phi: np.ndarray, reserve: np.ndarray) -> np.ndarray:
    """Fraction of the reserve at or below each phi, (M, N)."""
    below = [np.searchsorted(np.sort(row[reserve]), row, side="right") for row in phi]
    return np.stack(below) / reserve.sum() + TIE_STEP * phi / (1 + np.abs(phi))


ATTACK = AttackP
