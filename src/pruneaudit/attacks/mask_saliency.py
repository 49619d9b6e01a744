"""Saliency filter on structure: would a step on the sample make the kept weights larger?

If the initial weights w0 are public, this attack needs no training. A step on sample x makes |w_j| larger by a_j(x) =
-g_j(x) sign(w0_j), g the gradient of its loss at w0. With m_j = 1 for kept weights,

    score(x) = sum_j a_j(x) (m_j - p_j),  less its mean over the samples

p_j is the share of weights that the layer keeps (`rate=density`, no references), or the mean of the references' masks
(`rate=masks`). The sum is linear in m, so that the second is the first less the mean of the references' own. This
removes the part that all masks have in common, and finds more; one mask of another network already brings half of the
gain (docs/structure.md). The training sets of these networks need not be known.

Ours; SNIP (arXiv 1810.02340) ranks weights by a similar product. **A lower bound** on the leakage of structure: one
step at the start stands for the whole training. The sums come from `signals.start_saliency`.
"""

# V victims, K references, N samples

from __future__ import annotations

from typing import Literal

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.core import options


class Options(options.Options):
    """Settings of the saliency filter."""

    rate: Literal["auto", "density", "masks"] = "auto"
    """What to compare a bit with: the share of weights that its layer keeps (`density`), or the mean of the references'
    bits (`masks`). `auto`: `masks` if there are references, else `density`."""


class MaskSaliency(Attack[Options]):
    """Growth of the kept weights by one step on the sample, from public initial weights."""

    needs = frozenset({"structure", "start_saliency"})
    from_classes = True
    finds_alike = False

    def lacks(self, attack_input: AttackInput) -> str:
        """As every attack; with `rate=masks` also masks of references."""
        lacking = super().lacks(attack_input)
        if not lacking and self.options.rate == "masks" and not _has_masks(attack_input):
            return "references with a start saliency for every victim (key `start_saliency`); without any, rate=density"
        return lacking

    @property
    def uses_references(self) -> bool:
        """True unless only the victim's own mask is to be looked at."""
        return self.options.rate != "density"

    def num_trainings(self, attack_input: AttackInput) -> int:
        """The references, where their masks are used."""
        return int(attack_input.allowed.sum(axis=1).max()) if self._uses_masks(attack_input) else 0

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim by its own kept weights; `rng` is not used."""
        victims = _saliency(attack_input.attacked.start_saliency)[attack_input.victims]  # (V, N)
        others = _saliency(attack_input.reference.start_saliency) if _has_masks(attack_input) else None  # (K, N)
        if others is None or self.options.rate == "density":
            references = None if others is None else _centred(others, attack_input.reference.scored)
            return Scores(_centred(victims, attack_input.eligible), references, variant="shares of layers")
        # Differences first: equal masks then give exactly 0, not the sign of a rounding error.
        pairs = zip(victims, attack_input.allowed, strict=True)
        scores = np.stack([(own - others[allowed]).mean(axis=0) for own, allowed in pairs])
        number = int(attack_input.allowed.sum(axis=1).min())
        masks = f"{number} mask{'' if number == 1 else 's'} of references"
        return Scores(_centred(scores, attack_input.eligible), variant=masks)

    def _uses_masks(self, attack_input: AttackInput) -> bool:
        return self.options.rate != "density" and _has_masks(attack_input)


def _has_masks(attack_input: AttackInput) -> bool:
    """Whether every victim has an allowed reference, and references have a start saliency."""
    if not attack_input.references or attack_input.reference.start_saliency is None:
        return False
    return bool(attack_input.allowed.any(axis=1).all())


def _saliency(given: np.ndarray | None) -> np.ndarray:
    assert given is not None  # `lacks` refuses signals without
    return given.astype(np.float64)


def _centred(scores: np.ndarray, scored: np.ndarray) -> np.ndarray:
    """Scores (M, N) less each model's mean over its scored samples, (M, N) bool; NaN elsewhere."""
    found = np.where(scored, scores, np.nan)
    return np.asarray(found - np.nanmean(found, axis=1, keepdims=True))


ATTACK = MaskSaliency
