"""Random generators: every random draw has its own, seeded by its purpose.

A seed is derived from (study seed, purpose, ids...), so a model's draws do not depend on the number
of models, on the worker that trains it, or on earlier draws.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np

from pruneaudit.core.identity import canonical_json

if TYPE_CHECKING:
    import torch


def seed_for(study_seed: int, purpose: str, *ids: int | str) -> int:
    """Returns a seed in [0, 2**63) for this purpose and these ids only."""
    text = canonical_json([study_seed, purpose, *ids])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def numpy_generator(study_seed: int, purpose: str, *ids: int | str) -> np.random.Generator:
    """Returns a NumPy generator for this purpose."""
    return np.random.default_rng(seed_for(study_seed, purpose, *ids))


def coins_of(purpose: str, names: np.ndarray) -> np.ndarray:
    """Returns one fair coin per name, (n,) bool. It depends on this name alone; a number and its text share a coin.

    Args:
        purpose: what the coins decide.
        names: (n,) int or str.
    """
    digests = (hashlib.sha256(f"{purpose} {name}".encode()).digest() for name in names.tolist())
    return np.fromiter((digest[0] & 1 for digest in digests), dtype=bool, count=len(names))


def torch_generator(study_seed: int, purpose: str, *ids: int | str) -> torch.Generator:
    """Returns a CPU torch generator for this purpose (draws are always made on the CPU)."""
    import torch

    return torch.Generator().manual_seed(seed_for(study_seed, purpose, *ids))
