"""LiRA, the likelihood-ratio attack: is the victim's confidence typical of models with or without the sample?

Carlini et al. 2022 (arXiv 2112.03570). Per sample, the references' scaled confidence phi is modelled
as normal, once over the references trained on the sample (IN), once over the others (OUT):

    online                  ln N(phi; centre_IN, var_IN) - ln N(phi; centre_OUT, var_OUT)
    offline                 (phi - centre_OUT) / std_OUT, the paper's one-sided test
    offline_two_sided       -ln N(phi; centre_OUT, var_OUT), as in released code

`centre` is the mean, or the median as in released code. Variances are `per_example`, or `pooled`: the
within-example variance pooled over all samples, separately for IN and OUT; `auto` pools below 64 references.
`released_global` is the released code's "fixed variance", for reproduction only: one variance of all
IN values for both sides (offline: of all OUT values), which includes the spread between samples.
Several queries: the mean of the scores per query as in released code, or `multivariate`, the paper's
multivariate normal with a pooled within-example covariance.
Deviations: variances are unbiased (n - 1); the released code divides by n. A sample with one IN (or
OUT) reference takes the pooled variance for that side; with none it has no score (NaN, counted as
`num_unscored`), where released code silently gives a number.
"""

# V victims, K references, N samples, Q queries

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import model_validator

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.attacks.moments import Moments, averaged, medians, moments, pooled_covariance
from pruneaudit.core import options
from pruneaudit.metrics.arrays import for_each

POOL_BELOW = 64
_SMALLEST_VARIANCE = 1e-12


class Options(options.Options):
    """Settings of LiRA."""

    mode: Literal["online", "offline", "offline_two_sided"] = "online"
    """Compare IN with OUT references, or use only OUT references."""
    variance: Literal["auto", "pooled", "per_example", "released_global"] = "auto"
    """One within-example variance for all samples, or one per sample; auto: pooled below 64 references."""
    centre: Literal["mean", "median"] = "mean"
    """The centre of each side's normal distribution."""
    queries: Literal["average", "multivariate"] = "average"
    """How several queries are combined."""

    @model_validator(mode="after")
    def _fits(self) -> Options:
        if self.queries == "multivariate" and (self.variance not in ("auto", "pooled") or self.mode == "offline"):
            raise ValueError("queries=multivariate goes with variance=pooled and mode=online or offline_two_sided")
        return self


class Lira(Attack[Options]):
    """Likelihood ratio of the scaled confidence under IN and OUT references."""

    needs = frozenset({"references"})

    @property
    def compares_in(self) -> bool:
        """The online ratio does."""
        return bool(self.options.mode == "online")

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        variance = self.options.variance
        if self.options.queries == "multivariate":
            variance = "pooled"
        elif variance == "auto":
            variance = "pooled" if attack_input.allowed.sum(axis=1).min() < POOL_BELOW else "per_example"
        if self.options.queries == "multivariate":
            scores = self._all_queries(attack_input)
        else:
            scores = averaged(
                self._one_query(attack_input, q, variance) for q in range(attack_input.attacked.num_queries)
            )
        scores[~attack_input.eligible] = np.nan
        return Scores(scores, variant=self._variant(variance, attack_input.attacked.num_queries))

    def _variant(self, variance: str, num_queries: int) -> str:
        centre = "" if self.options.centre == "mean" else ", median centre"
        how = "average" if self.options.queries == "average" else "multivariate normal"
        queries = f", {how} over {num_queries} queries" if num_queries > 1 else ""
        return f"{self.options.mode}, {variance} variance{centre}{queries}"

    def _one_query(self, attack_input: AttackInput, query: int, variance: str) -> np.ndarray:
        """Scores (V, N) from one query."""
        phi, counted = attack_input.attacked.phi[attack_input.victims, :, query], attack_input.reference.counted
        sides = [self._side(attack_input, query, inside=False)]
        if self.options.mode == "online":
            sides.append(self._side(attack_input, query, inside=True))
        own = [side.by_victim() for side in sides]
        of_victims = list(zip(*own, strict=True))
        scores = np.empty(phi.shape)

        def compare(victim: int) -> None:
            scores[victim] = self._compared(phi[victim], variance, counted, *of_victims[victim])[0]

        for_each(compare, len(scores), scores.size)
        return scores

    def _compared(
        self, phi: np.ndarray, variance: str, counted: np.ndarray, out: Moments, side: Moments | None = None
    ) -> np.ndarray:
        """Scores (1, N) of one victim's phi (N,) by its OUT references, and by IN ones if they are given."""
        out_variance = _variance(out, variance, counted)
        if self.options.mode == "offline":
            return (phi - out.mean) / np.sqrt(out_variance)
        if side is None:
            return -log_normal(phi, out.mean, out_variance)
        in_variance = _variance(side, variance, counted)
        if variance == "released_global":
            out_variance = in_variance
        return log_normal(phi, side.mean, in_variance) - log_normal(phi, out.mean, out_variance)

    def _side(self, attack_input: AttackInput, query: int, inside: bool) -> Moments:
        """The IN or OUT references' moments, centred as the options say."""
        values, member = attack_input.reference.phi[..., query], attack_input.reference.member
        chosen = member if inside else ~member
        found = moments(values, chosen, attack_input.allowed)
        if self.options.centre == "mean":
            return found
        return Moments(found.count, medians(values, chosen, attack_input.allowed), found.squares)

    def _all_queries(self, attack_input: AttackInput) -> np.ndarray:
        """Scores (V, N) from multivariate normals over the queries."""
        out = self._log_multivariate(attack_input, inside=False)
        return (
            -out
            if self.options.mode == "offline_two_sided"
            else self._log_multivariate(attack_input, inside=True) - out
        )

    def _log_multivariate(self, attack_input: AttackInput, inside: bool) -> np.ndarray:
        """Ln N of all queries together under one side, (V, N), without the constant that both sides share."""
        num_queries = attack_input.attacked.num_queries
        chosen = attack_input.reference.member if inside else ~attack_input.reference.member
        centres = np.stack([self._side(attack_input, q, inside).mean for q in range(num_queries)], axis=-1)  # (V, N, Q)
        covariances = pooled_covariance(
            attack_input.reference.phi, chosen, attack_input.allowed, attack_input.reference.counted
        )  # (V, Q, Q)
        distance = attack_input.attacked.phi[attack_input.victims] - centres
        floor = _SMALLEST_VARIANCE * np.eye(num_queries)
        result = np.empty(distance.shape[:2])
        for victim, (away, covariance) in enumerate(zip(distance, covariances, strict=True)):
            solved = np.linalg.solve(covariance + floor, away.T).T  # (N, Q)
            log_volume = np.linalg.slogdet(covariance + floor)[1]
            result[victim] = -0.5 * ((away * solved).sum(axis=1) + log_volume)
        return result


def _variance(side: Moments, variance: str, counted: np.ndarray) -> np.ndarray:
    """Variance per victim and sample, (V, N) or (V, 1)."""
    if variance == "released_global":
        return np.maximum(side.total_variance(counted), _SMALLEST_VARIANCE)
    common = pooled(side, counted)
    if variance == "pooled":
        return common
    single = side.sample_variance()
    return np.where(np.isnan(single), common, np.maximum(single, _SMALLEST_VARIANCE))


def pooled(side: Moments, counted: np.ndarray) -> np.ndarray:
    """Within-example variance pooled over the counted samples (N,), one per victim, (V, 1)."""
    return np.maximum(side.pooled_variance(counted), _SMALLEST_VARIANCE)


def log_normal(x: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Ln N(x; mean, variance) without the constant that both sides share."""
    return -0.5 * ((x - mean) ** 2 / variance + np.log(variance))


ATTACK = Lira
