"""RMIA: is the sample more probable under the victim, relative to the references, than other samples are?

Zarifzadeh et al. 2024 (arXiv 2312.03262). With r_x = p_y(x | victim) / p(x), the score is the
fraction of reserve samples z with r_x / r_z >= gamma. p(x) is estimated from references:

    online      the mean of (mean over IN, mean over OUT)
    offline     ((1 + a) mean over OUT + (1 - a)) / 2

z is in nobody's training set, so p(z) takes the offline estimate in both modes. Where the signals
hold no reserve, z runs over the audited samples (stated in the variant). Several queries: a majority
vote over queries for each z.

The score is F_z(r_x / gamma), so it is found by sorting r_z once: O((N + Z) log Z). F_z takes Z + 1
values only; ties are broken by r_x itself, by less than one step of F_z, so that low false-positive
rates can be resolved. This is a refinement of the published score and never reverses its order.
"""

# V victims, K references, N samples, Z reserve samples

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from pruneaudit import options
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.moments import means
from pruneaudit.attacks.ties import tie_break
from pruneaudit.attacks.view import Scores, View
from pruneaudit.signals.derived import log_probability, probability


class Options(options.Options):
    """Settings of RMIA."""

    mode: Literal["online", "offline"] = "online"
    """Use IN and OUT references, or OUT references alone."""
    gamma: float = Field(default=2.0, ge=1)
    """How much more probable than z the sample must be; the paper's value is 2."""
    a: float = Field(default=0.3, ge=0, le=1)
    """How far IN probabilities are from OUT ones: 0.3 for CIFAR-10, 0.6 for CIFAR-100 in the paper."""


class Rmia(Attack):
    """Share of reserve samples that the sample beats in relative probability."""

    Options = Options
    needs = frozenset({"references"})

    @property
    def compares_in(self) -> bool:
        """The online mean does."""
        return bool(self.options.mode == "online")

    def score(self, view: View, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        num_queries = view.attacked.num_queries
        ratios = np.stack([self._log_ratio(view, query) for query in range(num_queries)])  # (Q, V, N)
        # A majority of queries beats z exactly when the middle one (the lower, if even) does.
        decisive = np.sort(ratios, axis=0)[num_queries - (num_queries // 2 + 1)]  # (V, N)
        reserve = view.attacked.reserve
        z = reserve if reserve.any() else ~view.attacked.canaries
        z_ratios = self._log_z_ratio(view, z)  # (V, Z)
        scores = np.stack([self._share_beaten(x, own) for x, own in zip(decisive, z_ratios, strict=True)])
        scores[~view.eligible] = np.nan
        source = "reserve" if reserve.any() else "audited samples"
        return Scores(scores, variant=f"{self.options.mode}, gamma {self.options.gamma:g}, z from the {source}")

    def _share_beaten(self, log_x: np.ndarray, log_z: np.ndarray) -> np.ndarray:
        """Scores (N,) of one victim from ln r_x (N,) and ln r_z (Z,)."""
        log_z = np.sort(log_z[np.isfinite(log_z)])
        if not len(log_z):
            return np.full(log_x.shape, np.nan)
        # Looked up in order, neighbours are found where the last one was. NumPy sorts NaN, not infinity, slowly.
        order = np.argsort(np.where(np.isnan(log_x), np.inf, log_x))
        beaten = np.empty(len(log_x))
        beaten[order] = np.searchsorted(log_z, log_x[order] - np.log(self.options.gamma), side="right") / len(log_z)
        return np.where(np.isnan(log_x), np.nan, beaten + tie_break(log_x))

    def _log_ratio(self, view: View, query: int) -> np.ndarray:
        """Ln r_x of every sample, (V, N); NaN where the references cannot tell."""
        known = probability(view.reference.phi[..., query])
        member = view.reference.member
        out = means(known, ~member, view.allowed)
        if self.options.mode == "offline":
            expected = self._offline(out)
        else:
            expected = (means(known, member, view.allowed) + out) / 2
        return log_probability(view.attacked.phi[view.victims, :, query]) - np.log(expected)

    def _log_z_ratio(self, view: View, z: np.ndarray) -> np.ndarray:
        """Ln r_z of the samples `z` on the plain query, (V, Z)."""
        known, member = probability(view.reference.phi[:, z, 0]), view.reference.member[:, z]
        expected = self._offline(means(known, ~member, view.allowed))
        return log_probability(view.attacked.phi[view.victims][:, z, 0]) - np.log(expected)

    def _offline(self, out: np.ndarray) -> np.ndarray:
        return ((1 + self.options.a) * out + (1 - self.options.a)) / 2


ATTACK = Rmia
