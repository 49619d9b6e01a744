"""A made-up bank: phi = difficulty + gain where trained on + noise, turned into logits."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from pruneaudit.signals.signals import Signals

# M models, N samples, C classes


def build_bank(
    num_models: int = 12,
    num_samples: int = 300,
    gain: float = 1.5,
    num_holdout: int = 0,
    num_canaries: int = 0,
    seed: int = 0,
    noise_seed: int = 0,
    first_id: int = 0,
) -> Signals:
    """Signals of a bank. The first samples are the holdout, the last the canaries.

    Membership depends on `seed`, and the noise on `noise_seed` too: two releases of one bank differ in the latter.
    """
    num_classes = 5
    labels = np.random.default_rng(2).integers(num_classes, size=num_samples)
    difficulty = np.random.default_rng(1).normal(1, 2, num_samples)
    member = np.random.default_rng([3, seed]).random((num_models, num_samples)) < 0.5
    member[:, :num_holdout] = False
    rng = np.random.default_rng([4, seed, noise_seed])
    phi = difficulty + gain * member + rng.normal(size=member.shape)  # (M, N)
    logits = rng.normal(size=(num_models, num_samples, num_classes))
    logits[:, np.arange(num_samples), labels] = -np.inf
    logits -= np.log(np.exp(logits).sum(axis=2, keepdims=True))  # the others' logsumexp is 0, so phi is the label's
    logits[:, np.arange(num_samples), labels] = phi
    return Signals(
        logits=logits,
        labels=labels,
        member=member,
        eligible=np.broadcast_to(np.arange(num_samples) >= num_holdout, member.shape),
        canary=np.arange(num_samples) >= num_samples - num_canaries,
        model_ids=np.arange(first_id, first_id + num_models),
    )


@pytest.fixture(scope="session")
def make_bank() -> Callable[..., Signals]:
    return build_bank
