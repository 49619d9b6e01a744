"""The seeds of the random draws in a release's trainings, in addition to the study's seed and the model.

All releases of a model use the same draws where possible, so that they differ only in their settings. A defence's noise
also depends on the compressors and the parents of the release. Trainings whose privacy depends on their draws
(`Defense.independent_draws`) have draws of their own: two releases with the same batches reveal more together, and the
same noise cancels when both are compared.
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


def draws_apart(spec: Mapping[str, Any], purpose: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the purpose of a training whose draws no other release shares, not even another one of the same model.

    Args:
        spec: everything that determines the network: parent, training, compressors, defence with its options, seed.
        purpose: of the training, with the release's own seed.
    """
    return (*purpose, seeds.WHOLE_RELEASE.format(sha256_of(spec)))


def hash_for_defense(spec: Mapping[str, Any]) -> str:
    """Returns the hash of the parts of a release that a defence's draws depend on.

    Releases that differ only in their defence, in their training or in their network share these draws, unless they
    differ in `finetune_seed` or the defence has `independent_draws`.
    """
    parts = (seeds.RELEASE_PRUNER, seeds.RELEASE_SPARSITY, seeds.RELEASE_COMPRESS, seeds.RELEASE_PARENTS)
    return sha256_of({part: spec[part] for part in parts if part in spec})
