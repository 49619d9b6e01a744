"""Attack R: is the sample's loss low among its losses under models that never saw it?

Ye et al. 2022 (arXiv 2111.09679). Score: the fraction of OUT references whose scaled confidence is below
the victim's. With few references the fraction takes few values; it is smoothed to (count + 1/2) / (K + 1),
so that samples with different numbers of OUT references compare, and ties are broken by how far the
victim stands from the references' mean, by less than one step.
"""

# V victims, K references, N samples

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.moments import moments
from pruneaudit.attacks.view import Scores, View

TIE_STEP = 1e-7


class AttackR(Attack):
    """Rank of the victim's confidence among OUT references'."""

    needs = frozenset({"references"})

    def score(self, view: View, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        phi, references = view.attacked.phi[view.victims, :, 0], view.reference.phi[..., 0]
        out = ~view.reference.member  # (K, N)
        below = np.zeros(phi.shape)
        for reference, is_out, allowed in zip(references, out, view.allowed.T, strict=True):
            below[allowed] += (reference < phi[allowed]) & is_out
        known = moments(references, out, view.allowed)
        distance = phi - known.mean  # NaN without OUT references
        scores = (below + 0.5) / (known.count + 1) + TIE_STEP * distance / (1 + np.abs(distance))
        scores[~view.eligible] = np.nan
        return Scores(scores)


ATTACK = AttackR
