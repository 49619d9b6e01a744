"""Small problems and small networks."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import nn

from pruneaudit.data.audit_data import AuditData
from pruneaudit.models import build_model
from pruneaudit.training.samples import Samples

# n samples, C classes


@pytest.fixture(autouse=True)
def always_on_one_thread(one_thread: None) -> None:
    """All of these tests run on one thread."""


@pytest.fixture
def audit_data() -> AuditData:
    """60 images (2, 8, 8) of 3 classes; the class is the brightest third of the rows."""
    rng = np.random.default_rng(0)
    y = np.arange(60) % 3
    x = rng.integers(0, 60, (60, 2, 8, 8)).astype(np.uint8)
    for row, label in enumerate(y):
        x[row, :, 3 * label : 3 * label + 2] += 150
    return AuditData(
        name="bars",
        x=x,
        y=y.astype(np.int64),
        ids=np.arange(60),
        holdout=np.zeros(60, dtype=bool),
        public=np.arange(60) >= 48,
        canary=np.zeros(60, bool),
        num_classes=3,
        classes=("top", "middle", "bottom"),
        mean=(0.25, 0.5),
        std=(0.2, 0.4),
    )


@pytest.fixture
def samples(audit_data: AuditData) -> Samples:
    return Samples.of(audit_data, ~audit_data.public)


@pytest.fixture
def make_model() -> Callable[..., nn.Module]:
    """Builds a small network for the images of `audit_data`; the same seed gives the same weights."""

    def build(name: str = "tinycnn", seed: int = 0) -> nn.Module:
        options = {"tinycnn": {"width": 4}, "mlp": {"hidden": [8]}}[name]
        return build_model(name, options, (2, 8, 8), 3, torch.Generator().manual_seed(seed))

    return build
