"""A made-up bank: phi = difficulty + gain where trained on + noise, turned into logits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pruneaudit.signals.signals import Signals

# M models, N samples, C classes


@pytest.fixture
def arrays() -> dict[str, Any]:
    """The three arrays that every audit needs, of 12 models and 300 samples, as `Signals` takes them."""
    rng = np.random.default_rng(7)
    num_models, num_samples, num_classes = 12, 300, 5
    labels = rng.integers(num_classes, size=num_samples)
    member = rng.random((num_models, num_samples)) < 0.5
    phi = rng.normal(1, 2, num_samples) + 1.5 * member + rng.normal(size=member.shape)  # (M, N)
    logits = rng.normal(size=(num_models, num_samples, num_classes))
    logits[:, np.arange(num_samples), labels] = -np.inf
    logits -= np.log(np.exp(logits).sum(axis=2, keepdims=True))  # the others' logsumexp is 0, so phi is the label's
    logits[:, np.arange(num_samples), labels] = phi
    return {"logits": logits.astype(np.float32), "labels": labels, "member": member}


@pytest.fixture
def bank(arrays: dict[str, Any]) -> Signals:
    return Signals(**arrays)


@pytest.fixture
def complete(arrays: dict[str, Any]) -> Signals:
    """Signals that have every key."""
    rng = np.random.default_rng(8)
    num_models, num_samples, _ = arrays["logits"].shape
    eligible = np.ones((num_models, num_samples), dtype=bool)
    eligible[:, :40] = False
    member = arrays["member"].copy()
    member[:, :40] = False
    return Signals(
        logits=arrays["logits"],
        labels=arrays["labels"],
        member=member,
        eligible=eligible,
        is_victim=np.arange(num_models) % 3 != 0,
        group=np.arange(num_models) % 2,
        confidence=rng.normal(size=(num_models, num_samples, 2)).astype(np.float32),
        correct=rng.random((num_models, num_samples, 2)) < 0.8,
        sensitivity=rng.random(arrays["logits"].shape).astype(np.float32),
        canary=np.arange(num_samples) >= 290,
        ids=np.array([f"sample-{n}" for n in range(num_samples)]),
        model_ids=np.arange(100, 100 + num_models),
        structure=rng.random((num_models, 37)) < 0.3,
        start_saliency=rng.normal(size=(num_models, num_samples)).astype(np.float32),
    )
