"""The configuration from which the identity of a network is hashed.

The strings here never change: see `ENGINE`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pruneaudit.compression import COMPRESSORS
from pruneaudit.compression.chain import Step, in_config
from pruneaudit.defenses import DEFENSES
from pruneaudit.engine.store import Artifact
from pruneaudit.models import MODELS
from pruneaudit.study import Plugin, Release, Study
from pruneaudit.study.base import BASE
from pruneaudit.study.lineage import (
    defenses_of,
    described,
    function_source,
    inherited_compress,
    network_of,
    origin_of,
    parent_of,
    training_of,
)
from pruneaudit.study.parts import own_uses
from pruneaudit.study.training import SHARED
from pruneaudit.study.user_function import SourceHash

TRAINING_SEMANTICS = 1
BASE_SEMANTICS = 1
RELEASE_SEMANTICS = 1
MATRICES_SEMANTICS = 2
"""Version of the rule for the weights of a user's network that are pruned and counted; version 1 had only convolutions
and linear layers."""

START_KEYS = ("init", "head")
"""The keys for initial weights that are not all a model's own: where they come from, and whether its head is new."""

ENGINE = "plain"
"""Part of the identity of every network. It never changes: defences seed their draws with the identities of parent
releases, so another string would change existing banks."""


def dense_config(
    study: Study, in_bank: Artifact, shaped_by: Mapping[str, str], source_hash: SourceHash
) -> dict[str, Any]:
    """Returns the configuration of the bank of all models.

    Args:
        study: the study.
        in_bank: the samples of the bank.
        shaped_by: the hash of the public samples, if they are not in the bank.
        source_hash: hashes the sources of user functions.
    """
    return {
        "kind": "dense",
        "semantics_version": TRAINING_SEMANTICS,
        **study.membership.identity,
        "model": described(MODELS, study.model, "model", source_hash),
        "training": study.training.identity,
        **function_source(study.training, source_hash),
        "parents": [in_bank.identity],
        "seed": study.seed,
        "engine": ENGINE,
        "precision": study.training.precision,
        **(shaped_by if own_uses(study, None) else {}),
    }


def base_config(
    study: Study, bank: Mapping[str, Any], in_bank: Artifact, shaped_by: Mapping[str, str]
) -> dict[str, Any]:
    """Returns the configuration of the study's base.

    Args:
        study: a study with a base.
        bank: the configuration of the bank, before the base is part of it.
        in_bank: the samples of the bank.
        shaped_by: the hash of the public samples, if they are not in the bank.
    """
    assert study.base is not None
    return {
        "kind": BASE,
        "semantics_version": BASE_SEMANTICS,
        "training": study.base.training(study.training).identity,
        "parents": [in_bank.identity],
        **{key: bank[key] for key in ("model", "seed", "engine", "precision")},
        **{key: bank[key] for key in START_KEYS if key in bank},
        **shaped_by,
    }


def release_config(
    study: Study,
    release: Release,
    bank: Mapping[str, Any],
    identities: Mapping[str, str],
    read: Mapping[str, Artifact],
    source_hash: SourceHash,
) -> dict[str, Any]:
    """Returns the configuration of a release; its parent is another release, the dense bank, or only the audit data.

    Args:
        study: the study.
        release: one of its releases.
        bank: the configuration of the bank.
        identities: the identities of the bank and of earlier releases, by name.
        read: other artifacts that all its models read.
        source_hash: hashes the sources of user functions.
    """
    where = f"release '{release.name}'"
    training = training_of(study, release)
    config = {
        "kind": "release",
        "semantics_version": RELEASE_SEMANTICS,
        "model": _model(study, release, bank, source_hash),
        **in_config([_described_step(plugin, where) for plugin in release.compress]),
        **_which_weights(release, release.model or study.model),
        "finetune": training and training.identity,
        **function_source(training, source_hash),
        "engine": ENGINE,
        **{key: bank[key] for key in ("seed", "precision")},
        **_start(study, release, bank),
    }
    if origin_of(release) == "init":
        config |= {"origin": "init", "parents": bank["parents"], **study.membership.identity}
        if release.has_teacher:
            config["parents"] = [*bank["parents"], identities[release.parent]]
            config["teacher"] = _network(study, parent_of(study, release), bank, source_hash)
    else:
        config["parents"] = [identities[release.parent]]
        inherited = [_described_step(plugin, where) for plugin in inherited_compress(study, release)]
        config |= {"inherited": inherited} if inherited else {}
    if read:
        config["parents"] = sorted([*config["parents"], *(artifact.identity for artifact in read.values())])
    if release.defense:
        config["defense"] = described(DEFENSES, release.defense, where)
    if release.finetune_seed:
        config["finetune_seed"] = release.finetune_seed
    # Defences can have changed the architecture of its networks.
    prepared = [described(DEFENSES, plugin, where) for plugin in defenses_of(study, release)]
    return config | ({"prepared": prepared} if prepared else {})


def _start(study: Study, release: Release, bank: Mapping[str, Any]) -> dict[str, str]:
    """Returns the initial weights of a release if other than a model's own; a file fits only the bank's network."""
    fits = bank.get("init") == SHARED or network_of(study, release) == study.model
    return {key: bank[key] for key in START_KEYS if key in bank} if fits else {}


def _model(study: Study, release: Release | None, bank: Mapping[str, Any], source_hash: SourceHash) -> dict[str, Any]:
    """Describes the network of a release; None: of the bank."""
    model = network_of(study, release)
    of_bank: dict[str, Any] = bank["model"]
    return of_bank if model == study.model else described(MODELS, model, "model", source_hash)


def _network(study: Study, release: Release | None, bank: Mapping[str, Any], source_hash: SourceHash) -> dict[str, Any]:
    """Describes the network of a teacher, as `task_context.new_model` builds it."""
    prepared = [described(DEFENSES, plugin, "defense") for plugin in defenses_of(study, release)] if release else []
    found: dict[str, Any] = {"model": _model(study, release, bank, source_hash)}
    return found | ({"prepared": prepared} if prepared else {})


def _described_step(plugin: Plugin, where: str) -> dict[str, Any]:
    """Describes a compressor for an identity, with the samples that it reads."""
    described_step = described(COMPRESSORS, plugin, where)
    step = Step.of(described_step)
    data = step.compressor.data(step.options)
    return described_step | ({} if data == "none" else {"data": data})


def _which_weights(release: Release, model: Plugin) -> dict[str, int]:
    """Returns the version of the prunable weights for an identity; unchanged for networks of the package."""
    return {"matrices": MATRICES_SEMANTICS} if release.compress and MODELS.get(model.name).draws_own_weights else {}
