"""Family: the joint attack on several releases of the same network.

A logistic stack of two log ratios per release, LiRA's (arXiv 2112.03570) and RMIA's (arXiv 2312.03262); see
`release_evidence.py`. Its weights are learned on references, which play the victim. A release without information gets
a weight near 0, so one more release cannot make the attack much weaker. A joint normal model of all releases does get
weaker: on the demo's bank it fell from .751 (dense alone) to .703 (nine releases), while the stack rises from .761 to
.781.

- Folds: the models are dealt into at most four. The weights for the victims of a fold come from references outside it,
  each attacked with the others outside it. So nothing about a victim is used to learn its weights.
- Features are divided by their standard deviation over all rows, and not centred. L2 penalty, C = .05.
- At most `MOST_ROWS` pairs of reference and sample teach a fold; beyond that samples are drawn.
- A sample without IN or OUT references in one release is left out of learning, and has no score (NaN).

It is a lower bound of what the releases reveal together. The weights are specific to this bank, this set of releases,
and references of the same releases; they are no evidence about a victim.
"""

# V victims, K references, N samples, Q queries, F features, n rows

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.folds import settings
from pruneaudit.attacks.release_evidence import KINDS, evidence
from pruneaudit.core import seeds
from pruneaudit.core.options import Options
from pruneaudit.core.randomness import numpy_generator
from pruneaudit.signals.signals import Signals

PENALTY = 0.05
"""scikit-learn's C: the inverse strength of the L2 penalty."""
MOST_ROWS = 2**18
"""The most rows that teach a fold."""
FEWEST_REFERENCES = 3
"""With fewer, a reference that plays the victim has not one IN and one OUT reference for any sample."""


@dataclass(frozen=True, eq=False)
class Fold:
    """Victims whose weights are learned together, and what teaches them."""

    victims: np.ndarray
    """(V',) int, rows of the scores."""
    references: np.ndarray
    """(K',) int, the references that play the victim, each with the others as its references."""
    samples: np.ndarray
    """(N',) int, the samples of which they are asked."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """What one release says: of the victims, and of the references that teach."""

    victims: np.ndarray
    """(2, V, N) float32."""
    taught: tuple[np.ndarray, ...]
    """(2, K', N') float32 of each fold; NaN where a reference is not asked about a sample."""


@dataclass(frozen=True, eq=False)
class Deal:
    """The folds of a bank, common to all its releases."""

    attack_input: AttackInput
    """Any release of the bank with its references."""
    seed: int

    @cached_property
    def folds(self) -> tuple[Fold, ...]:
        """Every victim is in at most one; without enough references it is in none."""
        return tuple(
            Fold(victims, np.sort(references), self._samples(len(references)))
            for victims, references in settings(self.attack_input, self.seed)
            if len(references) >= FEWEST_REFERENCES
        )

    def _samples(self, num_references: int) -> np.ndarray:
        """The samples that teach: all, or as many as `MOST_ROWS` allow, drawn in the order of their ids."""
        signals = self.attack_input.reference
        usable = np.argsort(signals.sample_ids)
        usable = usable[signals.ordinary[:, usable].any(axis=0)]
        most = MOST_ROWS // num_references
        if len(usable) > most:
            usable = numpy_generator(self.seed, seeds.FAMILY_ROWS).permutation(usable)[:most]
        return np.sort(usable)

    def evidence(self, release: Signals, references: Signals) -> Evidence:
        """What a release says.

        Args:
            release: the victims' signals in it, of the models of `attack_input`.
            references: the references' signals in it.
        """
        given = self.attack_input
        known, member, counted = references.phi, references.member, references.counted
        of_victims = evidence(release.phi[given.victims], known, member, given.allowed, counted)
        taught = []
        for fold in self.folds:
            groups = references.groups[fold.references]
            others = (groups[:, None] == groups) & ~np.eye(len(groups), dtype=bool)
            # Variances are pooled over the samples that teach.
            part = np.ix_(fold.references, fold.samples)
            found = evidence(known[part], known[part], member[part], others, counted[fold.samples])
            found[:, ~references.ordinary[part]] = np.nan
            taught.append(found.astype(np.float32))
        return Evidence(of_victims.astype(np.float32), tuple(taught))

    def scores(self, seen: Sequence[Evidence]) -> np.ndarray:
        """The stack's scores (V, N) float64 of a set of releases; NaN for victims without a fold."""
        given = self.attack_input
        found = np.full((len(given.victims), given.attacked.num_samples), np.nan)
        for index, fold in enumerate(self.folds):
            rows = np.concatenate([release.taught[index] for release in seen])  # (F, K', N')
            truth = given.reference.member[np.ix_(fold.references, fold.samples)]
            fitted = fit(rows.reshape(len(rows), -1), truth.ravel())
            if fitted is not None:
                weights, intercept = fitted
                asked = np.concatenate([release.victims[:, fold.victims] for release in seen])  # (F, V', N)
                found[fold.victims] = np.tensordot(weights, asked, axes=1) + intercept
        return found


def fit(rows: np.ndarray, member: np.ndarray) -> tuple[np.ndarray, float] | None:
    """Weights (F,) and intercept of the log-odds of membership; None without both kinds of rows.

    Args:
        rows: (F, n) features; rows with a NaN are left out.
        member: (n,) bool.
    """
    known = np.isfinite(rows).all(axis=0)
    features, truth = rows[:, known].astype(np.float64), member[known]
    if truth.all() or not truth.any():
        return None
    spread = features.std(axis=1)
    scale = np.where(spread > 0, spread, 1.0)  # (F,)
    # With many rows, exact Newton steps are the fastest; their matrix has the size of the features.
    from sklearn.exceptions import ConvergenceWarning  # scikit-learn takes a second to import
    from sklearn.linear_model import LogisticRegression

    model = LogisticRegression(C=PENALTY, solver="newton-cholesky", tol=1e-8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # rounding stops the last step of a separable set
        model.fit((features / scale[:, None]).T, truth)
    return model.coef_.ravel() / scale, float(model.intercept_.item())


class Family(Attack[Options]):
    """Logistic stack of LiRA's and RMIA's log ratios in all releases."""

    needs = frozenset({"references", "two releases"})
    standard = "lira"

    @property
    def compares_in(self) -> bool:
        """It does."""
        return True

    def lacks(self, attack_input: AttackInput) -> str:
        """Also that every victim has enough references outside its fold, in each release."""
        found = super().lacks(attack_input)
        if found:
            return found
        fewest = min(len(references) for _, references in settings(attack_input, 0))
        if fewest < FEWEST_REFERENCES:
            return f"at least {FEWEST_REFERENCES} references of every victim outside its fold, got {fewest}"
        return ""

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Log-odds of membership; `rng` deals the folds."""
        deal = Deal(attack_input, int(rng.integers(2**62)))
        pairs = zip(attack_input.releases, attack_input.references, strict=True)
        scores = deal.scores([deal.evidence(release, references) for release, references in pairs])
        scores[~attack_input.eligible] = np.nan
        num = len(attack_input.releases)
        told = f"{num} release{'s' if num > 1 else ''}, {num * len(KINDS)} log ratios"
        return Scores(scores, variant=f"stack of {told}")


ATTACK = Family
