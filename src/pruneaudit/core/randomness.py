"""Every random draw has its own generator, seeded by what it is for.

A seed comes from (study seed, purpose, ids...), so that a model's draws do not depend on how many
models there are, on which worker trains it, or on what was drawn before.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from pruneaudit.core.identity import canonical_json

if TYPE_CHECKING:
    import torch


def seed_for(study_seed: int, purpose: str, *ids: int | str) -> int:
    """A seed in [0, 2**63) that belongs to this purpose and these ids alone."""
    text = canonical_json([study_seed, purpose, *ids])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(study_seed: int, purpose: str, *ids: int | str) -> np.random.Generator:
    """A NumPy generator for this purpose."""
    return np.random.default_rng(seed_for(study_seed, purpose, *ids))


def torch_generator(study_seed: int, purpose: str, *ids: int | str) -> torch.Generator:
    """A CPU torch generator for this purpose (draws are made on the CPU on every device)."""
    import torch

    return torch.Generator().manual_seed(seed_for(study_seed, purpose, *ids))
