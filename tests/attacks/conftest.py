"""A made-up bank: phi = difficulty + gain where trained on + noise, turned into logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from pruneaudit.attacks.attack_input import AttackInput
from pruneaudit.signals.signals import Signals

# M models, N samples, C classes, Q queries


BITS_PER_SAMPLE = 20


def build_bank(
    num_models: int = 12,
    num_samples: int = 300,
    num_classes: int = 5,
    gain: float = 1.5,
    num_holdout: int = 0,
    num_queries: int = 1,
    seed: int = 0,
    member: np.ndarray | None = None,
    first_id: int = 0,
    dtype: type = np.float32,
) -> Signals:
    """Signals of a bank; the first `num_holdout` samples are in nobody's training set and not eligible."""
    rng = np.random.default_rng([7, seed])
    difficulty = np.random.default_rng(1).normal(1, 2, num_samples)  # the same samples whatever the seed
    labels = np.random.default_rng(2).integers(num_classes, size=num_samples)
    drawn = rng.random((num_models, num_samples)) < 0.5  # independent coins
    member = drawn if member is None else member.copy()
    member[:, :num_holdout] = False
    noise = rng.normal(size=(num_models, num_samples, num_queries))
    phi = difficulty[:, None] + gain * member[..., None] + noise  # (M, N, Q)
    logits = rng.normal(size=(num_models, num_samples, num_classes))
    logits[:, np.arange(num_samples), labels] = -np.inf
    logits -= np.log(np.exp(logits).sum(axis=2, keepdims=True))  # the others' logsumexp is 0, so phi is the label's
    logits[:, np.arange(num_samples), labels] = phi[..., 0]
    posteriors = np.exp(logits - np.logaddexp.reduce(logits, axis=2, keepdims=True))
    shaking = np.random.default_rng([8, seed]).lognormal(0, 0.3, posteriors.shape)
    return Signals(
        logits=logits.astype(dtype),
        labels=labels,
        member=member,
        eligible=np.broadcast_to(np.arange(num_samples) >= num_holdout, member.shape),
        confidence=phi.astype(dtype) if num_queries > 1 else None,
        sensitivity=posteriors * (1 - posteriors) * shaking,  # a softmax's slope, and what the network makes of it
        model_ids=np.arange(first_id, first_id + num_models),
        features=np.stack([difficulty, difficulty**2, np.random.default_rng(3).normal(size=num_samples)], axis=1),
        forgotten=difficulty + 0.3 * gain * member + np.random.default_rng([10, seed]).normal(size=member.shape),
        structure=build_structure(member[:, num_holdout:], gain, seed),
        start_saliency=difficulty + gain * member + np.random.default_rng([12, seed]).normal(size=member.shape),
    )


def build_structure(member: np.ndarray, gain: float, seed: int) -> np.ndarray:
    """Bits (M, D), of which each sample has some that networks trained on it keep more often."""
    told = np.repeat(member, BITS_PER_SAMPLE, axis=1)
    return np.random.default_rng([11, seed]).random(told.shape) < 0.5 + 0.5 * np.tanh(gain) * (told - 0.5)


def build_earlier(later: Signals, gain: float = 1.5, seed: int = 0) -> Signals:
    """The same models in an earlier release: members stand out by `gain` more, and there is noise of its own."""
    rng = np.random.default_rng([9, seed])
    moved = gain * later.member + rng.normal(size=later.member.shape)  # (M, N)
    logits = later.logits.copy()
    logits[:, np.arange(later.num_samples), later.labels] += moved  # moves phi by as much
    confidence = None
    if later.confidence is not None:
        confidence = later.confidence + moved[..., None] + rng.normal(size=later.confidence.shape)
        confidence[..., 0] = later.confidence[..., 0] + moved
    return replace(later, logits=logits, confidence=confidence)


def build_input(victims: Signals, references: Signals | None = None, allowed: np.ndarray | None = None) -> AttackInput:
    """Victims against references of their own, or against one another."""
    return AttackInput.of([victims], [victims if references is None else references], allowed)


@pytest.fixture
def make_bank() -> Callable[..., Signals]:
    return build_bank


@pytest.fixture
def make_earlier() -> Callable[..., Signals]:
    return build_earlier


@pytest.fixture
def make_input() -> Callable[..., AttackInput]:
    return build_input


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
