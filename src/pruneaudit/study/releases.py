"""Releases: the published forms of a bank's models."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.core.registry import nearest, registry_of
from pruneaudit.study.chains import CHAINS, steps_of_chain
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
"""The bank as it was trained: always present, and the default parent of every release."""
INIT = "init"
"""As a parent: new weights, the same initial weights as those of the dense model."""
Origin = Literal["own-dense", "init"]
"""Where a release starts: from the same model's dense weights, or from new ones."""
_USUAL_DEGREE = "sparsity"
"""The degree assumed for an unknown compressor, whose name is refused later."""


class Release(Options):
    """One published form of the bank's models.

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
    ...) can be given beside it; a list of degrees makes one release per degree. Without compressors: the parent's
    model, trained further."""
    finetune: FineTuning | None = None
    """Training after compression; it keeps the compression (masks, grids, codebooks). For new weights: the settings
    that differ from `training`."""
    defense: Plugin | None = None
    """The defence to use in that training."""
    weights: str = ""
    """With a target: the file with the target's weights in this release, such as the compressed network that you ship.
    The references go through `compress`, `finetune` and `defense`; without these, the references are the dense ones."""
    weights_key: str = ""
    """Key of the weights in that file; default: the key that fits."""
    compressed_bytes: int | None = Field(default=None, ge=1)
    """With weights: the bytes of the network as you ship it, such as those of an int8 file. It is compared with other
    releases at this size. Default: 32 bits for each weight that is not zero, because codes cannot be seen in a file."""
    finetune_seed: int = Field(default=0, ge=0, lt=2**31)
    """Seed for the order of the samples (and the random draws of a defence) in all training of this release. Two
    releases that differ only in it show how much changes by chance alone."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        written, value = value, _with_degrees_inside(value)
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
        if not compress and not defense and not value.get("model"):
            return f"{parent}+finetune"
        try:
            plugins = [_as_plugin(given) for given in compress or ()]
            parts = _names_of_compressors(plugins, written)
            parts += [_with_options(_as_plugin(defense))] if defense else []
            model = _with_options(_as_plugin(as_network(value["model"]))) if value.get("model") else DENSE
        except (ValueError, TypeError):
            return "unnamed"  # validation of the plug-in itself reports the error
        is_taught = any(_learns_from_parent(plugin.name) for plugin in plugins)
        if parent not in (DENSE, INIT) or not compress or (value.get("model") and not is_taught):
            parts.insert(0, model if parent == INIT else str(parent) if compress else f"{parent}+finetune")
        return re.sub(r"[^A-Za-z0-9._+=-]", "_", "+".join(parts)[:80])

    @model_validator(mode="after")
    def _does_something(self) -> Release:
        if self.weights_key and not self.weights:
            raise ValueError(f"weights_key: got '{self.weights_key}' without weights; give the file, or leave it out")
        if self.compressed_bytes and not self.weights:
            raise ValueError(
                f"compressed_bytes: got {self.compressed_bytes} without weights; the size of what is made here is"
                " counted, so leave it out"
            )
        if not self.has_recipe and not self.weights:
            raise ValueError("a release needs compress, finetune, or both ('dense' itself is always included)")
        if self.is_file_alone and self.parent != DENSE:
            raise ValueError(f"a release with weights and no recipe starts from {DENSE}, got parent = '{self.parent}'")
        if self.model is not None and self.parent != INIT and not self._has_teacher:
            raise ValueError(
                f"a release with another model needs parent = 'init' (new weights) or compress = 'distil', got"
                f" '{self.parent}'"
            )
        for plugin in self.compress:
            _check_degree(plugin)
        return self

    @property
    def _has_teacher(self) -> bool:
        """Whether its network learns from the parent's."""
        return any(_learns_from_parent(plugin.name) for plugin in self.compress)

    @property
    def has_recipe(self) -> bool:
        """Whether its settings say how to make its models."""
        return bool(self.compress) or self.finetune is not None or self.defense is not None or self.parent == INIT

    @property
    def is_file_alone(self) -> bool:
        """Whether it consists of the target's file only, so that no reference goes through it."""
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


def without_degree(plugin: Plugin) -> Plugin:
    """Returns a compressor with its options, without its degree."""
    return Plugin(name=plugin.name, options=_without(plugin.options, degree_of(plugin.name)))


def method_label(compress: Sequence[Plugin]) -> str:
    """Returns compressors with options, without degrees, as one text; empty if there are none."""
    return "+".join(without_degree(plugin).label for plugin in compress)


def degree_words(plugin: Plugin) -> str:
    """Returns a compressor with options and degree in words: `rtn 4 bits`, `l1unstructured 70%`."""
    degree, label = degree_of(plugin.name), without_degree(plugin).label
    if degree not in plugin.options:
        return label
    value = plugin.options[degree]
    if degree == _USUAL_DEGREE:
        return f"{label} {100 * float(value):.10g}%"
    if isinstance(value, str):
        return f"{label} {value}"
    return f"{label} {value} {degree}" if isinstance(value, int) else f"{label} {degree} {value}"


def degree_of(compressor: str) -> str:
    """Returns the name of a compressor's degree; `sparsity` for an unknown compressor."""
    try:
        return str(registry_of("compressor").get(compressor).degree)
    except UserError:
        return _USUAL_DEGREE


def _learns_from_parent(compressor: str) -> bool:
    """Whether a compressor's network learns from the parent's; False for an unknown one."""
    try:
        found = registry_of("compressor").get(compressor)
    except UserError:
        return False
    return bool(found.learns_from_parent)


def _check_degree(plugin: Plugin) -> None:
    """Checks the degree of a known compressor; its other options are checked later, with all plug-ins."""
    try:
        compressor = registry_of("compressor").get(plugin.name)
    except UserError:
        return
    try:
        compressor.Options.model_validate(plugin.options)
    except ValidationError as error:
        of_degree = [found for found in error.errors(include_url=False) if found["loc"][:1] == (compressor.degree,)]
        if not of_degree:
            return
        degree, name, what = compressor.degree, plugin.name, of_degree[0]
        if what["type"] == "missing":
            raise ValueError(
                f"compress: '{name}' needs {degree}, beside it or as '{name}:{degree}=...'"
                " (for the uncompressed baseline, leave compress out)"
            ) from None
        expected = str(what["msg"]).removeprefix("Input should be ").removeprefix("Value error, ")
        raise ValueError(f"{degree} of '{name}': got {what['input']!r}, expected: {expected}") from None


def one_release_per_degree(release: Any) -> Iterator[Any]:
    """Expands `sparsity = [0.7, 0.9]` beside a compressor into two releases.

    Args:
        release: an entry of a study, as written.

    Raises:
        ValueError: a list is empty, or the entry has a name.
    """
    if not isinstance(release, Mapping):
        yield release
        return
    degrees = [degree_of(plugin.name) for plugin in _readable(_in_order(release))]
    lists = {key: release[key] for key in dict.fromkeys(degrees) if isinstance(release.get(key), list | tuple)}
    for key, values in lists.items():
        if not values:
            raise ValueError(f"a release got {key} = [], expected at least one")
    if lists and release.get("weights"):
        raise ValueError(
            f"a release with several values of {' and '.join(lists)} cannot have weights = '{release['weights']}': make"
            " one release of each, with its own file"
        )
    if lists and release.get("name"):
        several = " and ".join(f"several values of {key}" for key in lists)
        raise ValueError(f"a release with {several} cannot have a name: leave it out")
    for combination in itertools.product(*lists.values()):
        yield {**release, **dict(zip(lists, combination, strict=True))}


def with_degrees_beside(release: Mapping[str, Any]) -> dict[str, Any]:
    """Moves the degrees of a dumped release beside its compressors, where an override finds them."""
    found = dict(release)
    plugins = _readable(_in_order(release))
    degrees = [degree_of(plugin.name) for plugin in plugins]
    for plugin, degree in zip(plugins, degrees, strict=True):
        if degree in plugin.options and degrees.count(degree) == 1:
            found[degree] = plugin.options[degree]
    found["compress"] = [
        {"name": p.name, "options": _without(p.options, degree) if degrees.count(degree) == 1 else p.options}
        for p, degree in zip(plugins, degrees, strict=True)
    ]
    return found if plugins else dict(release)


def _with_degrees_inside(value: Mapping[str, Any]) -> dict[str, Any]:
    """Moves the degrees beside the compressors of a release, as written, into their options."""
    if "pruner" in value:
        raise ValueError(f"got pruner = {value['pruner']!r}; it is now called compress, with the same value")
    compress = _in_order(value)
    rest = {key: part for key, part in value.items() if key != "compress"}
    if not compress:
        if asked := rest.pop(_USUAL_DEGREE, None):
            raise ValueError(f"{_USUAL_DEGREE} = {asked} needs a compressor, for example compress = 'l1unstructured'")
        return rest
    plugins = _readable(compress)
    if len(plugins) < len(compress):  # validation of the unreadable one reports the error
        rest.pop(_USUAL_DEGREE, None)
        return {**rest, "compress": tuple(compress)}
    degrees = [degree_of(plugin.name) for plugin in plugins]
    _check_degrees_beside(rest, plugins, degrees)
    options = [dict(plugin.options) for plugin in plugins]
    for degree in dict.fromkeys(degrees):
        if degree not in rest:
            continue
        if degrees.count(degree) > 1:
            raise ValueError(
                f"{degree}: got one value beside {degrees.count(degree)} compressors; give each its own, such as"
                f" '{plugins[0].name}:{degree}={rest[degree]}'"
            )
        number = degrees.index(degree)
        if options[number].get(degree, rest[degree]) != rest[degree]:
            raise ValueError(
                f"{degree}: got {rest[degree]} beside '{plugins[number].name}' and {options[number][degree]} among its"
                " options; keep one"
            )
        options[number][degree] = rest.pop(degree)
    steps = zip(plugins, options, strict=True)
    return {**rest, "compress": tuple({"name": plugin.name, "options": own} for plugin, own in steps)}


def _check_degrees_beside(beside: Mapping[str, Any], plugins: Sequence[Plugin], degrees: Sequence[str]) -> None:
    """Refuses a mistyped degree beside compressors, and that of another compressor; names theirs."""
    for key in beside:
        if key in Release.model_fields or key in degrees:
            continue
        for plugin in plugins:
            if plugin.name not in registry_of("compressor").names():  # the meaning of the key depends on it
                raise ValueError(str(registry_of("compressor").unknown(plugin.name)))
        hint = nearest(str(key), degrees)
        if hint or key in _degrees_of_all():
            raise ValueError(f"unknown key '{key}'{hint}; the degree of {_degrees_in_words(plugins, degrees)}")


def _degrees_of_all() -> set[str]:
    return {degree_of(name) for name in registry_of("compressor").names()}


def _degrees_in_words(plugins: Sequence[Plugin], degrees: Sequence[str]) -> str:
    """Returns for example `'rtn' is bits, that of 'kmeans' clusters`."""
    named = [f"'{plugin.name}' is {degree or 'none'}" for plugin, degree in zip(plugins, degrees, strict=True)]
    return ", that of ".join(dict.fromkeys(named))


def _in_order(value: Mapping[str, Any]) -> list[Any]:
    """Returns the compressors of a release, as written, as a list; a chain's name stands for its steps."""
    return steps_in(_as_written(value), value)


def _as_written(value: Mapping[str, Any]) -> Sequence[Any]:
    """Returns the compressors and chains of a release, as written, as a list."""
    given = value.get("compress")
    if given is None:
        return []
    return given if isinstance(given, list | tuple) else [given]


def steps_in(given: Sequence[Any], beside: Mapping[str, Any]) -> list[Any]:
    """Returns compressors, as written, with the steps of each chain in the place of its name.

    Args:
        given: compressors and chains, as texts, tables or plug-ins.
        beside: the settings beside them, among which degrees can stand.

    Raises:
        ValueError: a chain has an unknown option.
    """
    found: list[Any] = []
    for each in given:
        try:
            plugin = _as_plugin(each)
        except ValueError:  # validation of the unreadable one reports the error
            found.append(each)
            continue
        found += steps_of_chain(plugin, beside) if plugin.name in CHAINS else [each]
    return found


def _readable(given: Sequence[Any]) -> list[Plugin]:
    """Returns the compressors that can be parsed."""
    found = []
    for each in given:
        try:
            found.append(_as_plugin(each))
        except ValueError:
            continue
    return found


def _as_plugin(given: Any) -> Plugin:
    return given if isinstance(given, Plugin) else Plugin.model_validate(given)


def _without(options: Mapping[str, Any], degree: str) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != degree}


def _names_of_compressors(steps: Sequence[Plugin], written: Mapping[str, Any]) -> list[str]:
    """Returns the parts of a default name: one for each compressor and each chain.

    Args:
        steps: the compressors, with the steps of chains in their places.
        written: the release as written.
    """
    left, parts = iter(steps), []
    for plugin in map(_as_plugin, _as_written(written)):
        own = [next(left) for _ in steps_of_chain(plugin, written)]
        parts.append(_name_of_chain(plugin, own, written) if plugin.name in CHAINS else _named_with_degree(own[0]))
    return parts


def _name_of_chain(chain: Plugin, steps: Sequence[Plugin], beside: Mapping[str, Any]) -> str:
    """Returns a chain's name with its degrees up to the last that is given, then its other options."""
    options = {key: value for step in steps for key, value in step.options.items()}
    given = {key: options[key] for key in sorted(options.keys() & {*chain.options, *beside})} | chain.options
    degrees = CHAINS[chain.name].degrees
    shown = degrees[: max((number for number, key in enumerate(degrees, 1) if key in given), default=0)]
    name = "-".join([chain.name, *(str(options[key]) for key in shown)])
    return _with_options(Plugin(name=name, options={key: given[key] for key in given if key not in shown}))


def _named_with_degree(plugin: Plugin) -> str:
    """Returns a compressor with its degree and other options, as part of a name."""
    degree = degree_of(plugin.name)
    value = str(plugin.options.get(degree, "")).replace(":", "x")  # 2:4 names a folder as 2x4
    named = f"{plugin.name}-{value}" if value else plugin.name
    return _with_options(Plugin(name=named, options=_without(plugin.options, degree)))


def _with_options(plugin: Plugin) -> str:
    return plugin.name + "".join(f"-{key}={value}" for key, value in sorted(plugin.options.items()))
