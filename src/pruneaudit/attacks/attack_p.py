"""Attack P: is the sample's loss low among losses of samples that are certainly not members?

Ye et al. 2022 (arXiv 2111.09679). Score: the fraction of reserve samples whose scaled confidence under
the victim is at most the sample's, which is one minus the p-value of the hypothesis "not a member".
Within a victim it ranks as `loss` does; between victims it compares. Ties of the fraction are broken by
the confidence itself, by less than one step.
"""

# V victims, N samples, Z reserve samples

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.ties import tie_break
from pruneaudit.attacks.view import Scores, View


class AttackP(Attack):
    """Rank of the sample's confidence among the reserve's."""

    needs = frozenset({"reserve"})

    def score(self, view: View, rng: np.random.Generator) -> Scores:
        """Scores every victim on its own reserve; references are scored alike. `rng` is not used."""
        reserve = view.attacked.reserve
        references = _ranked(view.reference.phi[..., 0], reserve) if view.references else None
        if references is not None and view.reference is view.attacked:
            victims = references[view.victims]
        else:
            victims = _ranked(view.attacked.phi[view.victims, :, 0], reserve)
        victims[~view.eligible] = np.nan
        return Scores(victims, references, "z from the reserve")


def _ranked(phi: np.ndarray, reserve: np.ndarray) -> np.ndarray:
    """Fraction of the reserve at or below each phi, (M, N)."""
    below = np.empty(phi.shape)
    for row, found in zip(phi, below, strict=True):
        order = np.argsort(row)  # looked up in order, neighbours are found where the last one was
        found[order] = np.searchsorted(np.sort(row[reserve]), row[order], side="right")
    return below / reserve.sum() + tie_break(phi)


ATTACK = AttackP
