"""Product of ratios: does the victim give the sample a higher probability than references do, in all releases together?

RMIA's ratio (Zarifzadeh et al. 2024, arXiv 2312.03262), multiplied over releases:

    score = sum over releases of ln[p_y / p(x)],  p(x) the mean of (mean over IN, mean over OUT) of that release

The simplest attack on several releases: it learns nothing, and gives every release the same weight. So it finds less
than the attack on one release alone if another release reveals little. It serves for comparison with `family`, which
learns the weights.

Deviations from RMIA: no sample z, which would not change the ranking of one victim's samples. Several queries: the
mean over them.
"""

# V victims, N samples

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.release_evidence import KINDS, evidence
from pruneaudit.core.options import Options


class RatioProduct(Attack[Options]):
    """Sum over releases of RMIA's log ratio."""

    needs = frozenset({"references", "two releases"})
    is_lower_bound = True
    standard = "rmia"

    @property
    def compares_in(self) -> bool:
        """It does."""
        return True

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        scores = np.zeros(attack_input.eligible.shape)
        for release, reference in zip(attack_input.releases, attack_input.references, strict=True):
            phi = release.phi[attack_input.victims]
            found = evidence(phi, reference.phi, reference.member, attack_input.allowed, reference.counted)
            scores += found[KINDS.index("rmia")]
        scores[~attack_input.eligible] = np.nan
        return Scores(scores, variant=f"product over {len(attack_input.releases)} releases")


ATTACK = RatioProduct
