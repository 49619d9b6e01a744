"""Joint LiRA: are the victim's confidences in all releases typical of models with or without the sample?

**A lower bound** of what several releases leak together. Its AUC falls as releases are added, below that of the
dense release alone: on the demo's bank from .751 (dense alone) to .703. More releases cannot leak less, so the attack
itself causes the fall. Reports do not call it the strongest attack on a family of releases.

LiRA (Carlini et al. 2022, arXiv 2112.03570) tests one release; this attack tests all public ones together. For a
sample and a model, z = (phi in release 1, ..., phi in the attacked release), d numbers. On each side (IN, OUT) the
references' z are modelled as normal. Mean and covariance have a normal-inverse-Wishart prior (BaVarIA, arXiv
2603.11799, has its one-dimensional form), so the predictive density is the multivariate Student's t. With n
references, mean z_ and scatter S (sum of outer products of deviations from the mean):

    k_n = k0 + n;  m_n = (k0 m0 + n z_) / k_n;  nu_n = nu0 + n;  Psi_n = Psi0 + S + k0 n / k_n (z_ - m0)(z_ - m0)'
    score = ln t_{nu_n - d + 1}(z; m_n, Psi_n (k_n + 1) / (k_n (nu_n - d + 1))) of IN minus that of OUT

Hyperparameters by empirical Bayes, per victim and side, from moments pooled over samples; for d = 1 they are those of
`bavaria`. C is the within-sample covariance pooled over samples, B that of the samples' true means:

    m0      mean over samples of the means
    B       covariance over samples of the means, minus the part due to chance: C times the mean of 1 / n
    k0      d / tr(C^-1 B): how much tighter a sample's models lie than samples do
    nu0     2 a0 + d - 1, so that every variance is inverse-gamma with shape a0; 1 / (a0 - 2) is how much the sample
            variances, as multiples of the pooled one, differ beyond chance (mean over releases)
    Psi0    C (nu0 - d - 1): the prior mean of the covariance is the pooled one

So with few references the covariance is the pooled one, whose correlation shows how far two releases repeat the same
information; with many it is the sample's own. A sample without IN or without OUT references has no score (NaN).
Several queries: the mean of the scores per query, as in `lira` and `bavaria`.

The gain from a further release is the difference to `bavaria` on the other release alone. It can be negative: d
numbers are harder to model than one. Measured on the demo's bank (35 references), AUC with the dense networks seen
too: .744 pruned to 70%, .742 to 90%, where `bavaria` has .752 on the dense ones, and .720 and .583 on the pruned ones
alone. Memory: about six arrays of (V, N, d, d).
"""

# V victims, K references, N samples, d releases

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.bavaria import LARGEST_SHAPE, SMALLEST_SHAPE
from pruneaudit.core.options import Options

_SMALLEST = 1e-12
_SMALLEST_EIGENVALUE = 1e-6
"""Of the pooled correlation: with a smaller one, two releases that always agree would have no density."""
BLOCK = 2**22
"""About the most numbers that one array holds while densities are computed."""


@dataclass(frozen=True, eq=False)
class Side:
    """Count, mean and scatter of z over each victim's IN, or OUT, references."""

    count: np.ndarray  # (V, N)
    mean: np.ndarray  # (V, N, d), NaN where count is 0
    scatter: np.ndarray  # (V, N, d, d)


@dataclass(frozen=True, eq=False)
class Prior:
    """Hyperparameters of one side, one set per victim."""

    m0: np.ndarray  # (V, 1, d)
    k0: np.ndarray  # (V, 1)
    nu0: np.ndarray  # (V, 1)
    psi0: np.ndarray  # (V, 1, d, d)


class JointLira(Attack[Options]):
    """Ratio of multivariate Student-t predictive densities of the scaled confidences in all releases."""

    needs = frozenset({"references", "two releases"})
    is_lower_bound = True
    standard = "lira"

    @property
    def compares_in(self) -> bool:
        """It does."""
        return True

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        counted, member = attack_input.reference.counted, attack_input.reference.member
        per_query = []
        for query in range(attack_input.attacked.num_queries):
            z = np.stack(
                [release.phi[attack_input.victims, :, query] for release in attack_input.releases], axis=-1
            )  # (V, N, d)
            known = np.stack([release.phi[..., query] for release in attack_input.references], axis=-1)  # (K, N, d)
            per_query.append(log_ratio(z, known, member, attack_input.allowed, counted))
        scores = np.mean(per_query, axis=0)
        scores[~attack_input.eligible] = np.nan
        return Scores(
            scores, variant=f"a lower bound; normal-inverse-Wishart over {len(attack_input.releases)} releases"
        )


def log_ratio(
    z: np.ndarray, known: np.ndarray, member: np.ndarray, allowed: np.ndarray, counted: np.ndarray
) -> np.ndarray:
    """Ln of the IN over the OUT predictive density.

    Args:
        z: (V, N, d) the victims' confidences.
        known: (K, N, d) the references' confidences.
        member: (K, N) bool: which references were trained on the sample.
        allowed: (V, K) bool.
        counted: (N,) bool, the samples from which the priors are learned.

    Returns:
        (V, N) float64; NaN where a victim has no IN or no OUT reference for a sample.
    """
    inside, outside = (log_predictive(z, side_of(known, chosen, allowed), counted) for chosen in (member, ~member))
    return inside - outside


def side_of(known: np.ndarray, chosen: np.ndarray, allowed: np.ndarray) -> Side:
    """Moments of `known` (K, N, d) over references both chosen (K, N) and allowed (V, K); one matrix product each."""
    weights = allowed.astype(np.float64)
    # Centred on all models first: the scatter then loses nothing to cancellation.
    centre = known.mean(axis=0)
    centred = np.where(chosen[..., None], known - centre, 0.0)
    count = weights @ chosen.astype(np.float64)
    total = np.tensordot(weights, centred, axes=1)  # (V, N, d)
    offset = np.divide(total, count[..., None], out=np.full(total.shape, np.nan), where=count[..., None] > 0)
    scatter = np.tensordot(weights, _outer(centred, centred), axes=1)  # (V, N, d, d)
    scatter -= _outer(total, offset)
    scatter[count < 2] = 0.0  # exactly 0, where rounding leaves a trace
    return Side(count, offset + centre, scatter)


def log_predictive(z: np.ndarray, side: Side, counted: np.ndarray) -> np.ndarray:
    """Ln t density of z (V, N, d) under one side's references, (V, N); NaN where there are none."""
    prior = prior_of(side, counted)
    num_blocks = int(np.ceil(side.scatter.size / BLOCK))
    parts = [
        _log_density(z[:, block], Side(side.count[:, block], side.mean[:, block], side.scatter[:, block]), prior)
        for block in np.array_split(np.arange(z.shape[1]), num_blocks)
    ]
    return np.concatenate(parts, axis=1)


def prior_of(side: Side, counted: np.ndarray) -> Prior:
    """The prior estimated from the counted samples (N,)."""
    count, scatter = np.where(counted, side.count, 0.0), side.scatter
    num_releases = scatter.shape[-1]
    freedom = np.maximum(count - 1, 0)  # (V, N)
    total = np.tensordot(counted.astype(np.float64), scatter, axes=(0, 1))  # (V, d, d)
    covariance = _pooled(total, freedom.sum(axis=1)[:, None, None])
    present = count > 0
    m0 = _mean(side.mean, present)  # (V, d)
    away = np.where(present[..., None], side.mean - m0[:, None], 0.0)  # (V, N, d)
    num_present = np.maximum(present.sum(axis=1), 1)
    spread = away.transpose(0, 2, 1) @ away / num_present[:, None, None]  # (V, d, d)
    chance = _mean(1 / np.maximum(count, 1), present)  # (V,)
    precision = np.linalg.inv(covariance)
    between = np.trace(precision @ spread, axis1=1, axis2=2) - num_releases * chance  # tr(C^-1 B)
    k0 = num_releases / np.maximum(between, _SMALLEST * np.trace(precision, axis1=1, axis2=2))
    # The variance of sample variances, as multiples of the pooled one, is 2 / (n - 1) by chance, plus the prior's.
    several = count > 2
    pooled = np.diagonal(covariance, axis1=1, axis2=2)  # (V, d)
    ratios = np.diagonal(scatter, axis1=2, axis2=3) / np.maximum(freedom, 1)[..., None] / pooled[:, None]
    found = _mean(((ratios - 1) ** 2).mean(axis=-1), several)  # (V,)
    expected = _mean(2 / np.maximum(freedom, 1), several)
    beyond = np.maximum((found - expected) / (1 + expected), _SMALLEST)
    a0 = np.clip(2 + 1 / beyond, SMALLEST_SHAPE, LARGEST_SHAPE)
    nu0 = 2 * a0 + num_releases - 1
    psi0 = covariance * (nu0 - num_releases - 1)[:, None, None]
    return Prior(m0[:, None], k0[:, None], nu0[:, None], psi0[:, None])


def _pooled(scatter: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    """Covariance (V, d, d) from a scatter and its freedom (V, 1, 1), kept invertible; the identity without freedom."""
    num_releases = scatter.shape[-1]
    covariance = np.where(freedom > 0, scatter / np.maximum(freedom, 1), np.eye(num_releases))
    scale = np.sqrt(np.maximum(np.diagonal(covariance, axis1=1, axis2=2), _SMALLEST))  # (V, d)
    unit = _outer(scale, scale)
    correlation = covariance / unit
    correlation[:, np.arange(num_releases), np.arange(num_releases)] = 1.0
    values, vectors = np.linalg.eigh(correlation)
    values = np.maximum(values, _SMALLEST_EIGENVALUE)
    return np.asarray((vectors * values[:, None]) @ vectors.transpose(0, 2, 1) * unit)


def _log_density(z: np.ndarray, side: Side, prior: Prior) -> np.ndarray:
    """Ln t density of z (V, n, d) under one side's posterior, (V, n)."""
    num_releases = z.shape[-1]
    n, m0, k0 = side.count, prior.m0, prior.k0
    k = k0 + n
    shift = np.where(n[..., None] > 0, side.mean - m0, 0.0)
    away = z - m0 - (n / k)[..., None] * shift
    psi = prior.psi0 + side.scatter + (k0 * n / k)[..., None, None] * _outer(shift, shift)
    widening = (k + 1) / k
    distance = (away * np.linalg.solve(psi, away[..., None])[..., 0]).sum(axis=-1) / widening
    log_volume = np.linalg.slogdet(psi)[1] + num_releases * np.log(np.pi * widening)
    freedom = prior.nu0 + n - num_releases + 1
    power = (freedom + num_releases) / 2
    gammas = scipy.special.gammaln(power) - scipy.special.gammaln(freedom / 2)
    density = gammas - log_volume / 2 - power * np.log1p(distance)
    return np.where(n > 0, density, np.nan)


def _mean(values: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Mean over the chosen samples (V, N) of values (V, N) or (V, N, d); 0 where none is chosen."""
    extra = (1,) * (values.ndim - 2)
    total = np.where(chosen.reshape(chosen.shape + extra), values, 0.0).sum(axis=1)
    return np.asarray(total / np.maximum(chosen.sum(axis=1), 1).reshape(-1, *extra))


def _outer(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Outer products (..., d, d) of vectors (..., d)."""
    return a[..., :, None] * b[..., None, :]


ATTACK = JointLira
