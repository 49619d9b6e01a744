"""What the random draws of a release's trainings are seeded from, besides the study's seed and the model.

All releases of a model use the same draws where they can, so that they differ only in their settings. A defence's noise
also depends on the compressors and the parents of the release.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pruneaudit.core import seeds
from pruneaudit.core.identity import sha256_of


def purpose_of_training(inputs: Collection[str]) -> tuple[str, ...]:
    """Returns the purpose of the release's own training: from new weights, or further training.

    Args:
        inputs: the roles of the inputs of its task.
    """
    return (seeds.FINETUNE,) if "parent" in inputs else (seeds.TRAINING,)


def with_seed(spec: Mapping[str, Any], purpose: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the purpose of a training with the release's own seed, if it asks for one."""
    seed = spec.get("finetune_seed", 0)
    return (*purpose, seeds.FINETUNE_SEED.format(seed)) if seed else purpose


def hash_for_defense(spec: Mapping[str, Any]) -> str:
    """Returns the hash of the parts of a release that a defence's draws depend on.

    Two releases must not share a defence's noise: it would cancel when both are compared. Releases that differ only in
    their defence, in their training or in their network do share it, unless they differ in `finetune_seed`.
    """
    parts = (seeds.RELEASE_PRUNER, seeds.RELEASE_SPARSITY, seeds.RELEASE_COMPRESS, seeds.RELEASE_PARENTS)
    return sha256_of({part: spec[part] for part in parts if part in spec})
