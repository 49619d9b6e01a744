"""Releases: the published forms of a bank's models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from pruneaudit.core.options import Options
from pruneaudit.study.compressor_names import names_of_compressors, with_options
from pruneaudit.study.degrees import (
    as_plugin,
    check_degree,
    degree_of,
    learns_from_parent,
    method_label,
    with_degrees_inside,
    without_degree,
)
from pruneaudit.study.plugins import Network, Plugin, as_network
from pruneaudit.study.training import FineTuning

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,79}")


def _safe_name(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"got {name!r}, expected up to 80 letters, digits and ._+=- (it names a folder)")
    return name


def name_of_file(path: Any) -> str:
    """Returns a name made from a file's, without its ending; empty if no character of it can be used."""
    return re.sub(r"[^A-Za-z0-9_+=-]", "_", Path(str(path)).stem).lstrip("._+=-")[:80]


Name = Annotated[str, AfterValidator(_safe_name)]


DENSE = "dense"
"""The uncompressed models of the bank: always present, and the default parent of every release."""
INIT = "init"
"""As a parent: new weights, the same initial weights as those of the dense model."""
Origin = Literal["own-dense", "init"]
"""Where a release starts: from the same model's dense weights, or from new ones."""


class Release(Options):
    """A release: one published form of the bank's models.

    Example:
        >>> pruneaudit.Release(compress="rtn:bits=4").name
        'rtn-4'
        >>> pruneaudit.Release(compress=["l1unstructured:sparsity=0.7", "rtn:bits=8"], finetune={"epochs": 2}).parent
        'dense'
    """

    name: Name = ""
    """Its name in findings and folders; default: made from its settings, such as compressor and degree."""
    parent: Name = DENSE
    """Starting point of its models: dense (the same model's dense weights), init (new weights and a whole training), or
    the name of an earlier release, whose compression is then kept."""
    model: Network | None = None
    """A different architecture, such as a smaller dense network; needs new weights (parent = "init")."""
    compress: tuple[Plugin, ...] = ()
    """The compressor, or a list of compressors to apply in order. The degree of each (`sparsity`, `bits`, `clusters`,
    ...) can be given next to it; a list of degrees makes one release per degree. Without compressors, the release is
    the parent's model, trained further."""
    finetune: FineTuning | None = None
    """Training after the compression. It keeps the compression (masks, grids, codebooks). For new weights, give only
    the settings that differ from `training`."""
    defense: Plugin | None = None
    """The defence to use in `finetune`."""
    weights: str = ""
    """With a target: the file of the target in this release, such as the compressed network that you ship. The
    references go through `compress`, `finetune` and `defense`; if the release has none of these, the references are
    dense."""
    weights_key: str = ""
    """Key of the weights in that file; default: the key that fits."""
    compressed_bytes: int | None = Field(default=None, ge=1)
    """With weights: the size in bytes of the network as you ship it, such as the size of an int8 file. The release is
    compared with others at this size. Default: 32 bits for each weight that is not zero, because codes cannot be seen
    in a file."""
    finetune_seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed for the order of the samples (and the random draws of a defence) in all training of this release. Two
    releases that differ only in it show how much changes by chance alone."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        written, value = value, with_degrees_inside(value, cls.model_fields)
        if value.get("name") in (None, ""):
            seed = value.get("finetune_seed")
            suffix = f"+seed{seed}" if isinstance(seed, int) and seed else ""
            return {**value, "name": cls._default_name(value, written)[: 80 - len(suffix)] + suffix}
        return value

    @staticmethod
    def _default_name(value: Mapping[str, Any], written: Mapping[str, Any]) -> str:
        """Returns a name made from the settings; a chain's name as it is `written` stands for its steps."""
        parent, compress, defense = value.get("parent", DENSE), value.get("compress"), value.get("defense")
        if value.get("weights") and not (compress or defense or value.get("finetune") or value.get("model")):
            return name_of_file(value["weights"]) or "file"
        tuned: Any = value.get("finetune")
        if not compress and not defense and not value.get("model"):
            is_thin = isinstance(tuned, Mapping) and isinstance(tuned.get("lora"), Mapping)
            return f"{parent}+lora" if is_thin else f"{parent}+finetune"
        try:
            plugins = [as_plugin(given) for given in compress or ()]
            parts = names_of_compressors(plugins, written)
            parts += [with_options(as_plugin(defense))] if defense else []
            model = with_options(as_plugin(as_network(value["model"]))) if value.get("model") else DENSE
        except (ValueError, TypeError):
            return "unnamed"  # validation of the plug-in itself reports the error
        is_taught = any(learns_from_parent(plugin.name) for plugin in plugins)
        if parent not in (DENSE, INIT) or not compress or (value.get("model") and not is_taught):
            parts.insert(0, model if parent == INIT else str(parent) if compress else f"{parent}+finetune")
        return re.sub(r"[^A-Za-z0-9._+=-]", "_", "+".join(parts)[:80])

    @model_validator(mode="after")
    def _does_something(self) -> Release:
        if self.weights_key and not self.weights:
            raise ValueError(f"weights_key: got '{self.weights_key}' without weights; give the file, or leave it out")
        if self.compressed_bytes and not self.weights:
            raise ValueError(
                f"compressed_bytes: got {self.compressed_bytes} without weights; leave it out: the program counts the "
                f"size of the networks that it makes"
            )
        if not self.has_recipe and not self.weights:
            raise ValueError("a release needs compress, finetune, or both ('dense' itself is always included)")
        if self.is_file_alone and self.parent != DENSE:
            raise ValueError(
                f"a release with weights and without compress and finetune starts from {DENSE}, got "
                f"parent = '{self.parent}'"
            )
        if self.model is not None and self.parent != INIT and not self.has_teacher:
            raise ValueError(
                f"a release with another model needs parent = 'init' (new weights) or compress = 'distil', got"
                f" '{self.parent}'"
            )
        for plugin in self.compress:
            check_degree(plugin)
        return self

    @property
    def has_teacher(self) -> bool:
        """Whether its networks are new ones that learn from the outputs of the parent's."""
        return any(learns_from_parent(plugin.name) for plugin in self.compress)

    @property
    def has_recipe(self) -> bool:
        """Whether its settings say how to make its models (compress, finetune, ...)."""
        return bool(self.compress) or self.finetune is not None or self.defense is not None or self.parent == INIT

    @property
    def is_file_alone(self) -> bool:
        """Whether it consists of the target's file only, so that there are no references for it."""
        return bool(self.weights) and not self.has_recipe

    @property
    def method(self) -> str:
        """The compressors with options, without degrees; empty if there are none."""
        return method_label(self.compress)

    def asked(self, degree: str) -> float | None:
        """Returns the requested degree of that name, such as `sparsity`; None if no compressor has it."""
        plugins = [plugin for plugin in self.compress if degree_of(plugin.name) == degree]
        values = [plugin.options[degree] for plugin in plugins if degree in plugin.options]
        return float(values[-1]) if values else None

    def but_for_degrees(self) -> str:
        """Returns all settings except its name and the degrees of its compressors, as JSON text."""
        compress = tuple(without_degree(plugin) for plugin in self.compress)
        return self.model_copy(update={"name": "", "compress": compress}).model_dump_json()
