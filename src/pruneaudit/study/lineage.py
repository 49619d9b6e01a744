"""The lineage of a release: its parent, its training, its defences, and its undefended counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.core.registry import Registry, registry_of
from pruneaudit.study import DENSE, INIT, Origin, Plugin, Release, Study, Training
from pruneaudit.study.audit import UNDEFENDED
from pruneaudit.study.base import BASE
from pruneaudit.study.chains import with_chains
from pruneaudit.study.degrees import degree_words, method_label
from pruneaudit.study.user_function import NETWORK, SourceHash, source_sha256

OWN_FILE = "your file"
CHAINS = "chains"
"""The name for releases with several compressors, as a way of compressing."""
SCORING = "scoring"
"""Reserved release name: the scoring bank. Its models are never victims or references."""


def plugin_options(registry: Registry[Any], plugin: Plugin, where: str) -> Options:
    """Returns the validated options of a plug-in.

    Raises:
        UserError: the plug-in or one of its options is unknown or wrong.
    """
    try:
        found = registry.get(plugin.name)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None
    return validated(found.Options, plugin.options, f"{where}: options of '{plugin.name}'")


def described(
    registry: Registry[Any], plugin: Plugin, where: str, source_hash: SourceHash = source_sha256
) -> dict[str, Any]:
    """Describes a plug-in for an identity: name, all options, semantics version, fingerprint of other inputs.

    For a network from a folder the architecture itself takes the folder's place.

    Args:
        registry: the registry of its kind.
        plugin: the plug-in, as the study names it.
        where: the caller, for messages.
        source_hash: hashes a user's function that it calls; default: the source on disk.
    """
    options = plugin_options(registry, plugin, where)
    found = registry.get(plugin.name)
    if registry is registry_of("model") and (folder := found.folder(options)):
        options = found.without_folder(options, source_hash(NETWORK + folder, f"model '{plugin.name}'"))
    described = {"name": plugin.name, "options": options.model_dump(mode="json")}
    described["semantics_version"] = found.semantics_version
    function = found.function_name(options) if registry is registry_of("model") else ""
    fingerprint = source_hash(function, f"model '{plugin.name}'") if function else found.fingerprint(options)
    return described | ({"fingerprint": fingerprint} if fingerprint else {})


def function_source(training: Training | None, source_hash: SourceHash = source_sha256) -> dict[str, str]:
    """Returns the source hash of a user's training function for an identity; empty without such a function.

    Args:
        training: the training settings, or None.
        source_hash: hashes the function; default: the source on disk.

    Raises:
        UserError: the module does not exist or has no source.
    """
    if training is None or training.function is None:
        return {}
    return {"function_source": source_hash(training.function, "training.function")}


def calls_users_function(spec: Mapping[str, Any]) -> bool:
    """Returns whether making an artifact calls a function of the user.

    Args:
        spec: the spec of the artifact, or of a query of one.
    """
    return "function_source" in spec or bool(network_function(spec))


def network_function(spec: Mapping[str, Any]) -> str:
    """Returns the user's function that builds the networks of an artifact; empty if there is none.

    Args:
        spec: the spec of the artifact, or of a query of one.
    """
    return _builder(Plugin(name=spec["model"]["name"], options=spec["model"]["options"])) if "model" in spec else ""


def functions_of(study: Study) -> set[str]:
    """Returns the user's functions that a study names."""
    models = (study.model, *(release.model for release in study.releases))
    return ({_builder(model) for model in models if model} | {study.training.function or ""}) - {""}


def _builder(model: Plugin) -> str:
    models = registry_of("model")
    return str(models.get(model.name).function_name(plugin_options(models, model, "model")))


def origin_of(release: Release) -> Origin:
    """Returns whether a release starts from its parent's weights or from new ones."""
    if release.parent == INIT:
        return "init"
    if not release.compress:
        return "own-dense"
    first = release.compress[0]
    origin: Origin = _compressor(first).origin(_options(release, "compressor", first))
    return origin


def depends_on_parent(release: Release) -> bool:
    """Returns whether the parent's networks influence its own, as first weights or as teachers."""
    return origin_of(release) == "own-dense" or release.has_teacher


def network_of(study: Study, release: Release | None) -> Plugin:
    """Returns the network of a release; None: of the dense bank."""
    if release is None:
        return study.model
    return release.model or network_of(study, parent_of(study, release))


def training_of(study: Study, release: Release) -> Training | None:
    """Returns the training after compression: fine-tuning, the whole training (from new weights), or None.

    A defence can change its settings (weight decay, epochs).

    Raises:
        UserError: compressor or defence work during training, but there is none or a user's function does it; or the
            two cannot be combined.
    """
    training = study.training_of(release) if release.finetune else None
    if training is None and origin_of(release) == "init":
        training = study.training.of_release
        if network_of(study, release) != study.model:  # its weights are new: it has nothing to adapt
            training = training.model_copy(update={"lora": None})
    is_taught = release.finetune is not None and release.has_teacher  # the loop trains it, with these settings
    if study.training.function and origin_of(release) == "init" and not is_taught:
        _check_whole_training(release, study.training.function)
    if training is None:
        _check_needs_no_training(release)
        return None
    if release.defense is None:
        return training
    options = _options(release, "defense", release.defense)
    try:
        settings: Training = _defense(release.defense).settings(options, training)
    except UserError as error:
        raise UserError(f"release '{release.name}': {error}") from None
    return settings


def _check_needs_no_training(release: Release) -> None:
    working = release.defense and f"defense '{release.defense.name}'"
    for plugin in release.compress:
        if _compressor(plugin).works_in_training(_options(release, "compressor", plugin)):
            working = f"compressor '{plugin.name}'"
    if working:
        raise UserError(
            f"release '{release.name}': {working} works during training, but the release has no training;"
            " add finetune = { epochs = ... }, or parent = 'init' for the whole training"
        )


def _check_whole_training(release: Release, function: str) -> None:
    """Refuses compressors and defences that work in the training loop if a user's function replaces the loop."""
    asked = [f"compressor '{plugin.name}'" for plugin in release.compress]
    asked += [f"defense '{release.defense.name}'"] if release.defense else []
    if asked:
        raise UserError(
            f"release '{release.name}': {asked[-1]} works in the training loop from new weights, but"
            f" training.function = '{function}' replaces that loop; start from the networks that it trains"
            " (with finetune; compressors dpf and static also with start=pretrained), or leave the function out"
        )
    if release.finetune:
        raise UserError(
            f"release '{release.name}': '{function}' trains it from new weights, and takes no settings; leave "
            f"finetune out, or start from dense"
        )


def _compressor(plugin: Plugin) -> Any:
    return registry_of("compressor").get(plugin.name)


def _defense(plugin: Plugin) -> Any:
    return registry_of("defense").get(plugin.name)


def _options(release: Release, kind: str, plugin: Plugin) -> Options:
    return plugin_options(registry_of(kind), plugin, f"release '{release.name}'")


def check_release(study: Study, release: Release) -> None:
    """Checks a release's plug-ins, their options and its training, without touching torch.

    Raises:
        UserError: something is unknown or wrong, or cannot be combined.
    """
    if release.name == SCORING:
        raise UserError(f"a release is named '{SCORING}', which is reserved for the scoring bank; give it another name")
    if study.base and release.name == BASE:
        raise UserError(f"a release is named '{BASE}', which the study's own base is called; give it another name")
    if release.model:
        _options(release, "model", release.model)
    for plugin in release.compress:
        _options(release, "compressor", plugin)
    if release.has_teacher:
        _check_teacher(release)
    if release.defense:
        _options(release, "defense", release.defense)
    training = training_of(study, release)
    if training is not None and training.lora:
        _check_lora(study, release)
    if training is None and release.finetune_seed:
        raise UserError(
            f"release '{release.name}': finetune_seed = {release.finetune_seed} has no effect, because the release has"
            " no training; add finetune = { epochs = ... }, or leave the seed out"
        )


def _check_lora(study: Study, release: Release) -> None:
    """Refuses low-rank adaptation of compressed networks: their constraints hold weights, not products of matrices."""
    if plugins := (*inherited_compress(study, release), *release.compress):
        epochs = release.finetune.epochs if release.finetune else study.training.epochs
        raise UserError(
            f"release '{release.name}': compressor '{plugins[-1].name}' cannot keep its compression when only "
            f"low-rank matrices are trained (lora); train all weights with finetune = "
            f"{{ epochs = {epochs}, lora = false }}, or"
            " compress after the training with lora, without finetune"
        )


def _check_teacher(release: Release) -> None:
    if release.parent == INIT:
        raise UserError(
            f"release '{release.name}': its network learns from the parent's network, but parent = '{INIT}' has no "
            f"network; give the teacher's release as parent, such as {DENSE}"
        )


def release_of(study: Study, name: str) -> Release | None:
    """Returns the release of that name; None: the dense bank."""
    return next((release for release in study.releases if release.name == name), None)


def parent_of(study: Study, release: Release) -> Release | None:
    """Returns the release that a release starts from; None: the dense bank, or new weights."""
    return release_of(study, release.parent)


def defenses_of(study: Study, release: Release) -> list[Plugin]:
    """Returns the defences applied to its networks: those of its ancestors, oldest first, then its own."""
    parent = parent_of(study, release) if origin_of(release) == "own-dense" else None
    inherited = defenses_of(study, parent) if parent else []
    return inherited + ([release.defense] if release.defense else [])


def inherited_compress(study: Study, release: Release) -> tuple[Plugin, ...]:
    """Returns the compressors of its ancestors, in order; its networks inherit their constraints."""
    parent = parent_of(study, release) if origin_of(release) == "own-dense" else None
    return (*inherited_compress(study, parent), *parent.compress) if parent else ()


def compression_of(study: Study, release: Release) -> str:
    """Returns the compressors applied to its networks, its ancestors' first, with options but without degrees."""
    inherited = method_label(inherited_compress(study, release))
    return "+".join(part for part in (inherited, release.method) if part)


def way_of(study: Study, release: Release) -> str:
    """Returns the way in which a release was compressed, `chains` for several compressors; empty without a compressor.

    Raises:
        UserError: a compressor is not here.
    """
    plugins = (*inherited_compress(study, release), *release.compress)
    found = [_compressor(plugin).way(_options(release, "compressor", plugin)) for plugin in plugins]
    named = [way for way in found if way]
    return CHAINS if len(named) > 1 else next(iter(named), "")


def own_file(release: Release) -> str:
    """Returns the words for a release that is the target's own file, without a compressor; empty for others."""
    return f"{OWN_FILE} {Path(release.weights).name}" if release.weights else ""


def compression_words(study: Study, release: Release) -> str:
    """Returns the same with degrees, as a readable text."""
    return ", ".join(degree_words(plugin) for plugin in (*inherited_compress(study, release), *release.compress))


def scoring_models_of(release: Release) -> int:
    """Returns how many models score the samples for its defence (option `scoring_models`); 0 if it needs no scores."""
    if release.defense is None or "sample_scores" not in _defense(release.defense).needs:
        return 0
    options: Any = _options(release, "defense", release.defense)
    return int(options.scoring_models)


def undefended(study: Study, release: Release) -> Release | None:
    """Returns the release without any defence, its own or inherited; None if that is the dense bank.

    Uses the name of an equal release of the study if there is one, otherwise the default name.
    """
    parent = parent_of(study, release)
    plain = undefended(study, parent) if parent else None
    parent_name = release.parent if parent is None else plain.name if plain else DENSE
    if not release.compress and parent_name == INIT and release.finetune is None and release.model is None:
        return None
    # All seeds of a release share one undefended counterpart.
    values = release.model_dump() | {"defense": None, "parent": parent_name, "name": "", "finetune_seed": 0}
    values |= {"compress": with_chains(release.compress, release.name)}  # named like the release
    values |= {"weights": "", "weights_key": "", "compressed_bytes": None}  # the target's file has the defence
    counterpart = Release.model_validate(values)
    same = (other for other in study.releases if other.model_copy(update={"name": counterpart.name}) == counterpart)
    return next(same, counterpart)


def counterparts(study: Study) -> dict[str, str]:
    """Returns the undefended counterpart of each defended release, by name."""
    return {
        release.name: plain.name if (plain := undefended(study, release)) else DENSE
        for release in study.releases
        if defenses_of(study, release)
    }


def repeats(study: Study) -> dict[str, str]:
    """Returns releases that differ from an earlier one only in `finetune_seed`, with that one's name.

    A release that is trained anew with nothing else changed repeats `dense`, unless that has a user's own model.
    """
    trained_anew = [] if study.target else [Release(name=DENSE, parent=INIT)]
    firsts: dict[str, Release] = {}  # by all settings of a release except name and seed
    found = {}
    for release in (*trained_anew, *study.releases):
        said = release.model_copy(update={"name": "", "finetune_seed": 0}).model_dump_json()
        first = firsts.setdefault(said, release)
        if first.finetune_seed != release.finetune_seed:
            found[release.name] = first.name
    return found


def with_counterparts(study: Study) -> Study:
    """Returns the study with missing undefended counterparts added, if its references include `undefended`."""
    if UNDEFENDED not in study.audit.references:
        return study
    return study.model_copy(update={"releases": (*study.releases, *_missing_counterparts(study))})


def _missing_counterparts(study: Study) -> Iterator[Release]:
    known = {release.name for release in study.releases}
    for release in study.releases:
        counterpart = undefended(study, release) if defenses_of(study, release) else None
        if counterpart is not None and counterpart.name not in known:
            known.add(counterpart.name)
            yield counterpart
