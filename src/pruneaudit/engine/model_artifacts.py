"""Names the artifacts of a release's models, by everything that determines them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pruneaudit.compression.chain import inherited_steps, steps_of
from pruneaudit.core.files import (
    ADAPTER_CONFIG_FILE,
    ADAPTER_FILE,
    COMPRESSED_FILE,
    EARLY_FILE,
    MASK_FILE,
    STRUCTURE_FILE,
    SUMMARY_FILE,
    WEIGHTS_FILE,
)
from pruneaudit.core.identity import sha256_of
from pruneaudit.engine.store import Artifact
from pruneaudit.engine.target_files import TARGET_ID

NO_TARGET: Mapping[str, str] = MappingProxyType({})


def model_artifacts(
    release: str, config: Mapping[str, Any], num_models: int, of_target: Mapping[str, str] = NO_TARGET
) -> list[Artifact]:
    """Returns one artifact per model of a release, or of the scoring bank.

    Args:
        release: the release.
        config: what determines all its models.
        num_models: number of models.
        of_target: what else determines that of the target, which has a folder of its own; empty without a target.
    """
    files = _model_files(config)
    folder = f"{release}-{sha256_of(config)[:8]}"
    made = [Artifact(f"{folder}/model-{m:03d}", {**config, "model_id": m}, files) for m in range(num_models)]
    if of_target:
        own = {**config, **of_target}
        files = _model_files({} if "weights" in of_target else config)
        folder = f"{release}-{sha256_of(own)[:8]}"
        made[TARGET_ID] = Artifact(f"{folder}/model-{TARGET_ID:03d}", {**own, "model_id": TARGET_ID}, files)
    return made


def _model_files(config: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the files that the artifact of a model must contain."""
    files = [WEIGHTS_FILE, "history.csv", SUMMARY_FILE]
    steps = (*inherited_steps(config), *steps_of(config))
    kinds = {step.kind for step in steps}
    files += [COMPRESSED_FILE] if kinds - {"student", "training"} else []
    files += [MASK_FILE] if "mask" in kinds else []
    files += [STRUCTURE_FILE] if any(step.changes_architecture for step in steps) else []
    files += [EARLY_FILE] if keeps_early(config) else []
    files += [ADAPTER_FILE, ADAPTER_CONFIG_FILE] if trains_adapter(config) else []
    return tuple(files)


def keeps_early(config: Mapping[str, Any]) -> bool:
    """Returns whether a model with this configuration has the weights of an early step in its folder."""
    return config.get("kind") == "dense" and config["training"].get("keep_early") is not None


def trains_adapter(config: Mapping[str, Any]) -> bool:
    """Returns whether a model with this configuration is trained by matrices beside its weights, which it keeps."""
    training = config.get("training") or config.get("finetune") or {}
    return bool(training.get("lora"))
