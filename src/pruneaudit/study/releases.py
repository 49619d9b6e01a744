"""Releases: the published forms of a bank's models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pruneaudit.core.options import Options
from pruneaudit.study.data import Fraction
from pruneaudit.study.plugins import Network, Plugin, as_network
from pruneaudit.study.training import FineTuning

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,79}")


def _safe_name(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"got {name!r}, expected up to 80 letters, digits and ._+=- (it names a folder)")
    return name


Name = Annotated[str, AfterValidator(_safe_name)]


DENSE = "dense"
"""The bank as it was trained: always there, every release's parent unless it names another."""
INIT = "init"
"""As a parent: new weights, those that the dense model began from."""
Origin = Literal["own-dense", "init"]
"""Where a release starts: from the same model's dense weights, or from new ones."""


class Release(Options):
    """One published form of the bank's models."""

    name: Name = ""
    """Its name in findings and folders; default: what is done, such as pruner and sparsity."""
    parent: Name = DENSE
    """What its models start from: dense (the same model's dense weights), init (new weights: the whole training is
    done again), or the name of an earlier release that prunes nothing (say, one that was trained with a defence)."""
    model: Network | None = None
    """Another architecture than the study's, from new weights (parent = "init"), such as a smaller dense network."""
    pruner: Plugin | None = None
    """How weights are removed; none: the parent's model, trained further (from dense: the control)."""
    sparsity: Fraction = 0.0
    """Fraction of prunable weights that become zero."""
    finetune: FineTuning | None = None
    """Training after pruning, with the mask held; from new weights: what differs from `training`."""
    defense: Plugin | None = None
    """How that training is defended."""
    finetune_seed: int = Field(default=0, ge=0, lt=2**31)
    """Another number draws another order of the samples (and what a defence draws) in all training of this release.
    Two releases that differ in nothing else show how much changes by chance alone."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("name") in (None, ""):
            seed = value.get("finetune_seed")
            suffix = f"+seed{seed}" if isinstance(seed, int) and seed else ""
            return {**value, "name": cls._default_name(value)[: 80 - len(suffix)] + suffix}
        return value

    @staticmethod
    def _default_name(value: Mapping[str, Any]) -> str:
        parent, pruner, defense = value.get("parent", DENSE), value.get("pruner"), value.get("defense")
        if not pruner and not defense and not value.get("model"):
            return f"{parent}+finetune"
        try:
            parts = [_plugin(pruner, value.get("sparsity", 0))] if pruner else []
            parts += [_plugin(defense)] if defense else []
            model = _plugin(as_network(value["model"])) if value.get("model") else DENSE
        except ValueError:
            return "unnamed"  # what is wrong with a plug-in is said where the plug-in itself is validated
        if parent not in (DENSE, INIT) or not pruner or value.get("model"):
            parts.insert(0, model if parent == INIT else str(parent) if pruner else f"{parent}+finetune")
        return re.sub(r"[^A-Za-z0-9._+=-]", "_", "+".join(parts)[:80])

    @model_validator(mode="after")
    def _does_something(self) -> Release:
        if self.pruner is None and self.finetune is None and self.defense is None and self.parent != INIT:
            raise ValueError("a release needs a pruner, finetune, or both ('dense' itself is always there)")
        if self.model is not None and self.parent != INIT:
            raise ValueError(f"another model starts from new weights: got parent = '{self.parent}', expected 'init'")
        if self.pruner is None and self.sparsity:
            raise ValueError(f"sparsity = {self.sparsity:g} needs a pruner, for example pruner = 'l1unstructured'")
        if self.pruner is not None and not self.sparsity:
            raise ValueError("a pruner needs sparsity above 0 (for the unpruned control, leave the pruner out)")
        return self


def _plugin(given: Any, sparsity: Any = None) -> str:
    """A plug-in, with its sparsity if it has one, as part of a name."""
    plugin = given if isinstance(given, Plugin) else Plugin.model_validate(given)
    options = "".join(f"-{key}={value}" for key, value in sorted(plugin.options.items()))
    return f"{plugin.name}{options}" if sparsity is None else f"{plugin.name}-{sparsity}{options}"
