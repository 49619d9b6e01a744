"""Which engine trains a study's bank: decided once for a run folder, and kept there.

What is decided shapes the weights by rounding, and is part of the bank's identity. The trial behind `auto` may end one
way or the other on a busy machine; its answer is therefore kept in the run folder, and a resumed or larger bank, or
one that goes on on another device, keeps its engine. Only what asks for more than `plain` imports torch here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pruneaudit.data.population import Population
from pruneaudit.data.splits import split_of
from pruneaudit.errors import UserError
from pruneaudit.files import read_json, write_atomically, writing_error
from pruneaudit.identity import sha256_of
from pruneaudit.models import MODELS
from pruneaudit.pipeline.lineage import calls_users_function, described
from pruneaudit.study import Study
from pruneaudit.study.target import SourceHash, source_sha256, working_folder_searched
from pruneaudit.threads import one_torch_thread

ENGINES_FILE = "engines.json"
"""The engines that were decided in a run folder, by what they were decided for."""
STACKED_SEMANTICS = 1
"""Raised when the weights of models that are trained side by side change."""
NUM_PLACES = 8
"""Models side by side. Part of identities: the bits of a model depend on it, and on the model's own place."""


@dataclass(frozen=True)
class Engine:
    """How a bank's models are trained."""

    name: Literal["plain", "stacked"] = "plain"
    reason: str = "asked for"
    """Why, in a few words."""

    @property
    def identity(self) -> str | dict[str, Any]:
        """Its part of what shapes a model."""
        if self.name == "plain":
            return "plain"
        return {"name": "stacked", "places": NUM_PLACES, "semantics_version": STACKED_SEMANTICS}

    @property
    def about(self) -> dict[str, Any]:
        """What reports say of it."""
        return {"name": self.name, "places": 1 if self.name == "plain" else NUM_PLACES, "reason": self.reason}


PLAIN = Engine()
UNDECIDED = Engine("plain", "auto, decided when the run begins")


def num_places(spec: Mapping[str, Any]) -> int:
    """How many models stand side by side in the training of an artifact; 1: it is trained alone.

    Args:
        spec: the artifact's.
    """
    engine = spec.get("engine", "plain")
    return 1 if engine == "plain" else int(engine["places"])


def known_engine(
    study: Study, population: Population, folder: Path | None, source_hash: SourceHash = source_sha256
) -> Engine:
    """The engine of a study's bank as far as it is decided; tries nothing, and imports no torch.

    Args:
        study: the study.
        population: the study's.
        folder: the run folder; none: nothing is decided yet.
        source_hash: of functions of the user's; default: of the sources on disk.

    Returns:
        The engine; `UNDECIDED` where `auto` has not been decided in the folder.

    Raises:
        UserError: what was decided cannot be read.
    """
    if study.training.engine == "plain":
        return PLAIN
    kept = _kept(study, population, folder, source_hash) if folder else None
    return kept or (Engine("stacked") if study.training.engine == "stacked" else UNDECIDED)


def resolve_engine(study: Study, population: Population, folder: Path, device: str) -> Engine:
    """The engine of a study's bank: as decided in the run folder, else as asked, `auto` by a trial; writes nothing.

    Args:
        study: the study.
        population: the study's.
        folder: the run folder, which need not exist.
        device: where models will be trained.

    Raises:
        UserError: `stacked` is asked for and cannot train these models, or what was decided cannot be read.
    """
    if study.training.engine == "plain":
        return PLAIN
    return _kept(study, population, folder) or _decided(study, population, device)


def keep_engine(engine: Engine, study: Study, population: Population, folder: Path) -> Engine:
    """Keeps an engine in the run folder, which this process holds; returns the one that counts.

    That is another one where another run has decided meanwhile.

    Raises:
        UserError: the folder cannot be written in, or what was decided cannot be read.
    """
    if study.training.engine == "plain":
        return engine
    if kept := _kept(study, population, folder):
        return kept
    decided = {**_all_kept(folder), _key(study, population): engine}
    values = {key: {"name": one.name, "reason": one.reason} for key, one in decided.items()}
    try:
        write_atomically(folder / ENGINES_FILE, json.dumps(values, indent=1, sort_keys=True) + "\n")
    except OSError as error:
        raise writing_error(folder, error) from None
    return engine


def _key(study: Study, population: Population, source_hash: SourceHash = source_sha256) -> str:
    """What an engine is decided for. The device is no part of it: a bank that goes on elsewhere keeps its engine."""
    facts = {
        "model": described(MODELS, study.model, "model", source_hash),
        "training": study.training.identity,
        "input_shape": list(population.x.shape[1:]),
        "num_classes": population.num_classes,
        "semantics_version": STACKED_SEMANTICS,
    }
    return sha256_of(facts)


def _kept(study: Study, population: Population, folder: Path, source_hash: SourceHash = source_sha256) -> Engine | None:
    """What was decided for a study, unless it now asks for something else."""
    kept = _all_kept(folder).get(_key(study, population, source_hash))
    return None if kept and kept.name == "plain" and study.training.engine == "stacked" else kept


def _all_kept(folder: Path) -> dict[str, Engine]:
    file = folder / ENGINES_FILE
    try:
        return {key: _engine(**values) for key, values in read_json(file).items()}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError):
        raise UserError(
            f"{file}: unreadable, expected the engines that were decided in this run; delete it to decide them again"
        ) from None


def _engine(name: str, reason: str) -> Engine:
    if name not in ("plain", "stacked") or not isinstance(reason, str):
        raise ValueError(name)
    return Engine("plain" if name == "plain" else "stacked", reason)


def _decided(study: Study, population: Population, device: str) -> Engine:
    """Asks the engines themselves, on one thread as workers have it."""
    import torch

    from pruneaudit.pipeline.own import new_model
    from pruneaudit.training.engine import choose_engine
    from pruneaudit.training.samples import Samples
    from pruneaudit.training.selection import dev_hooks

    asked, settings = study.training.engine, study.training
    if device.startswith("cuda") and not torch.cuda.is_available():  # on a cluster; nothing can be timed from here
        if asked == "auto":
            return Engine("plain", f"no trial: {device} is not in the machine that started the run")
        device = "cpu"
    spec = {"model": described(MODELS, study.model, "model")}
    members = Samples.of(population, split_of(study.membership, study.seed, 0, population).member, device)
    hooks = dev_hooks(settings, Samples.of(population, population.reserve, device))

    def make_model() -> torch.nn.Module:
        return new_model(spec, population, torch.Generator().manual_seed(0)).to(device)

    try:
        with one_torch_thread(), working_folder_searched() if calls_users_function(spec) else nullcontext():
            choice = choose_engine(asked, make_model, members, settings, hooks, NUM_PLACES)
    except UserError:
        raise
    except Exception as error:  # a user's network may raise anything
        if asked == "stacked":
            raise UserError(f"engine 'stacked' cannot try these models: {type(error).__name__}: {error}") from error
        return Engine("plain", f"the trial failed ({type(error).__name__})")
    return Engine(choice.engine, choice.reason)
