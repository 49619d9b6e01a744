"""Matched filter on structure: does the victim keep the weights that networks trained on the sample keep?

It sees no outputs, only bits: which weights a pruned network keeps, or which channels. For bit j, p_j is its mean over
the victim's references, and p_in(x), p_out(x) are its means over IN and OUT references, shrunk to p_j as by w = 4
pseudo-masks. With d_j = p_in - p_out and v_j = p_j (1 - p_j), at least .02:

    score(x) = sum_j d_j / v_j (m_j - p_j),  m the victim's bits

That is the likelihood ratio of independent bits to first order in d_j. No published attack reads a mask alone; the
nearest ones compare outputs of pruned and dense networks (arXiv 2108.03506). **A lower bound** on the leakage of
structure: the filter ignores that bits depend on each other. It compares bits at the same place, so it finds nothing if
each network starts from its own weights: then the initial weights, not the training set, decide which weights are kept.

No array of samples by bits is made. d_j is linear in the references' bits, so it is enough to compute the products G_k
= sum_j (m_kj - p_j) (m_j - p_j) / v_j, one number for each victim and reference:

    score(x) = (sum of G_k over IN) / (n_in + w) - (sum of G_k over OUT) / (n_out + w)
"""

# V victims, K references, N samples, D bits, n bits at once

from __future__ import annotations

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.core.options import Options
from pruneaudit.signals.bits import Bits

PSEUDO_MASKS = 4
"""w: weight of the bit's own rate in its IN and OUT rates, in masks."""
LEAST_VARIANCE = 0.02
"""A bit that hardly varies gets no more weight than one with this variance."""


class MaskFilter(Attack[Options]):
    """Sum over bits of the victim's deviation from the rate, weighted by how much IN and OUT references differ."""

    needs = frozenset({"structure", "references"})
    from_classes = True
    finds_alike = False

    @property
    def compares_in(self) -> bool:
        """It does."""
        return True

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        victims, references = _bits(attack_input.attacked.structure), _bits(attack_input.reference.structure)
        products = filter_products(victims[attack_input.victims], references, attack_input.allowed)
        scores = filtered(products, attack_input.reference.member, attack_input.allowed)
        scores[~attack_input.eligible] = np.nan
        return Scores(scores, variant=f"{references.num_varying:,} of {references.shape[1]:,} bits vary")


def _bits(structure: np.ndarray | Bits | None) -> Bits:
    assert isinstance(structure, Bits)  # `lacks` refuses signals without
    return structure


def filter_products(victims: Bits, references: Bits, allowed: np.ndarray) -> np.ndarray:
    """G: sums over bits of the products of deviations from the rate, divided by the bit's variance.

    Args:
        victims: (V, D).
        references: (K, D).
        allowed: (V, K) bool: rate and variance of each bit are those over the victim's allowed references.

    Returns:
        (V, K) float64.
    """
    weights = allowed / allowed.sum(axis=1, keepdims=True)  # (V, K)
    found = np.zeros(allowed.shape)
    for own, others in zip(victims.blocks(), references.blocks(), strict=True):
        varies = (others != others[0]).any(axis=0)  # the rest is 0 in every product
        known = others[:, varies].astype(np.float64)  # (K, n)
        rate = weights @ known  # (V, n)
        deviation = (own[:, varies] - rate) / np.maximum(rate * (1 - rate), LEAST_VARIANCE)
        found += deviation @ known.T - (deviation * rate).sum(axis=1, keepdims=True)
    return found


def filtered(products: np.ndarray, member: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """The scores, from products of masks.

    Args:
        products: (V, K) from `filter_products`.
        member: (K, N) bool: which references were trained on the sample.
        allowed: (V, K) bool.

    Returns:
        (V, N) float64; NaN where a victim has no IN or no OUT reference for a sample.
    """
    inside, used = member.astype(np.float64), np.where(allowed, products, 0.0)
    num_in = allowed.astype(np.float64) @ inside  # (V, N)
    num_out = allowed.sum(axis=1, keepdims=True) - num_in
    sum_in = used @ inside
    scores = sum_in / (num_in + PSEUDO_MASKS) - (used.sum(axis=1, keepdims=True) - sum_in) / (num_out + PSEUDO_MASKS)
    scores[(num_in == 0) | (num_out == 0)] = np.nan
    return np.asarray(scores)


ATTACK = MaskFilter
