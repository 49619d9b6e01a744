"""Where each release comes from: its parent, its training, its defences, and its undefended counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.core.registry import Registry, registry_of
from pruneaudit.study import DENSE, INIT, Origin, Plugin, Release, Study, Training
from pruneaudit.study.audit import UNDEFENDED
from pruneaudit.study.releases import degree_words, method_label
from pruneaudit.study.target import SourceHash, source_sha256

SCORING = "scoring"
"""In the place of a release's name: the scoring bank, whose models are no release, never victim and never reference."""


def plugin_options(registry: Registry[Any], plugin: Plugin, where: str) -> Options:
    """The validated options of a plug-in.

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
    """A plug-in as its part of an identity: name, all options, semantics version, a fingerprint of what else it reads.

    Args:
        registry: of its kind.
        plugin: as the study names it.
        where: who asks, for messages.
        source_hash: of a user's function that it calls; default: that of the source on disk.
    """
    options = plugin_options(registry, plugin, where)
    found = registry.get(plugin.name)
    described = {"name": plugin.name, "options": options.model_dump(mode="json")}
    described["semantics_version"] = found.semantics_version
    target = found.target(options) if registry is registry_of("model") else ""
    fingerprint = source_hash(target, f"model '{plugin.name}'") if target else found.fingerprint(options)
    return described | ({"fingerprint": fingerprint} if fingerprint else {})


def function_source(training: Training | None, source_hash: SourceHash = source_sha256) -> dict[str, str]:
    """The hash of the source of a user's training function, as its part of an identity; empty where there is none.

    Args:
        training: its settings, if there is any.
        source_hash: of the function; default: that of the source on disk.

    Raises:
        UserError: there is no such module, or it has no source.
    """
    if training is None or training.function is None:
        return {}
    return {"function_source": source_hash(training.function, "training.function")}


def calls_users_function(spec: Mapping[str, Any]) -> bool:
    """Whether the work on an artifact calls a function that the user has named.

    Args:
        spec: the artifact's, or that of a query of one.
    """
    return "function_source" in spec or bool(network_function(spec))


def network_function(spec: Mapping[str, Any]) -> str:
    """The function of the user's that builds the networks of an artifact; empty where there is none.

    Args:
        spec: the artifact's, or that of a query of one.
    """
    return _builder(Plugin(name=spec["model"]["name"], options=spec["model"]["options"])) if "model" in spec else ""


def functions_of(study: Study) -> set[str]:
    """The functions of the user's that a study names."""
    models = (study.model, *(release.model for release in study.releases))
    return ({_builder(model) for model in models if model} | {study.training.function or ""}) - {""}


def _builder(model: Plugin) -> str:
    models = registry_of("model")
    return str(models.get(model.name).target(plugin_options(models, model, "model")))


def origin_of(release: Release) -> Origin:
    """Whether a release starts from weights of its parent or from new ones."""
    if release.parent == INIT:
        return "init"
    if not release.compress:
        return "own-dense"
    first = release.compress[0]
    origin: Origin = _compressor(first).origin(_options(release, "compressor", first))
    return origin


def training_of(study: Study, release: Release) -> Training | None:
    """The training after compression: fine-tuning, or of a release from new weights the whole training; or none.

    A defence may change it (its weight decay, its epochs).

    Raises:
        UserError: method or defence work in training, and there is none; or the two do not go together; or they
            work in a training that a function of the user's does.
    """
    training = study.training_of(release) if release.finetune else None
    if training is None and origin_of(release) == "init":
        training = study.training
    if study.training.function and origin_of(release) == "init":
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
            f"release '{release.name}': {working} works during training, and the release has none;"
            " give it finetune = { epochs = ... }, or parent = 'init' for the whole training"
        )


def _check_whole_training(release: Release, function: str) -> None:
    """Refuses what steps into the loop in a whole training that a function of the user's does."""
    asked = [f"compressor '{plugin.name}'" for plugin in release.compress]
    asked += [f"defense '{release.defense.name}'"] if release.defense else []
    if asked:
        raise UserError(
            f"release '{release.name}': {asked[-1]} steps into the training loop from new weights on, and there"
            f" training.function = '{function}' takes the loop's place; start from the networks that it trains"
            " (with finetune; compressors dpf and static also with start=pretrained), or leave the function out"
        )
    if release.finetune:
        raise UserError(
            f"release '{release.name}': its training from new weights is '{function}', which takes no settings;"
            " leave finetune out, or start from dense"
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
        UserError: something is unknown, wrong, or does not go together.
    """
    if release.name == SCORING:
        raise UserError(f"a release is called '{SCORING}', which names the scoring bank; give it another name")
    if release.model:
        _options(release, "model", release.model)
    for plugin in release.compress:
        _options(release, "compressor", plugin)
    if release.defense:
        _options(release, "defense", release.defense)
    training = training_of(study, release)
    if training is None and release.finetune_seed:
        raise UserError(
            f"release '{release.name}': finetune_seed = {release.finetune_seed} changes nothing, for the release has no"
            " training; give it finetune = { epochs = ... }, or leave the seed out"
        )


def release_of(study: Study, name: str) -> Release | None:
    """The release of that name; None: the dense bank."""
    return next((release for release in study.releases if release.name == name), None)


def parent_of(study: Study, release: Release) -> Release | None:
    """The release that it starts from; None: the dense bank, or new weights."""
    return release_of(study, release.parent)


def defenses_of(study: Study, release: Release) -> list[Plugin]:
    """The defences that shaped its networks: those of its ancestors, the first one first, then its own."""
    parent = parent_of(study, release) if origin_of(release) == "own-dense" else None
    inherited = defenses_of(study, parent) if parent else []
    return inherited + ([release.defense] if release.defense else [])


def inherited_compress(study: Study, release: Release) -> tuple[Plugin, ...]:
    """The compressors of its ancestors, in order, whose constraints its networks inherit."""
    parent = parent_of(study, release) if origin_of(release) == "own-dense" else None
    return (*inherited_compress(study, parent), *parent.compress) if parent else ()


def compression_of(study: Study, release: Release) -> str:
    """The compressors that shaped its networks, its ancestors' first, with their options but without their degrees."""
    inherited = method_label(inherited_compress(study, release))
    return "+".join(part for part in (inherited, release.method) if part)


def compression_words(study: Study, release: Release) -> str:
    """The same with the degrees, as a text for readers."""
    return ", ".join(degree_words(plugin) for plugin in (*inherited_compress(study, release), *release.compress))


def scoring_models_of(release: Release) -> int:
    """How many models score the samples for its defence, as its option `scoring_models` says; 0: it needs no scores."""
    if release.defense is None or "sample_scores" not in _defense(release.defense).needs:
        return 0
    options: Any = _options(release, "defense", release.defense)
    return int(options.scoring_models)


def undefended(study: Study, release: Release) -> Release | None:
    """The same release without any defence, its ancestors' included; None where that is the dense bank.

    Its name is that of a release of the study that comes to the same, or the default one.
    """
    parent = parent_of(study, release)
    plain = undefended(study, parent) if parent else None
    parent_name = release.parent if parent is None else plain.name if plain else DENSE
    if not release.compress and parent_name == INIT and release.finetune is None and release.model is None:
        return None
    # One undefended counterpart serves all seeds of a release.
    values = release.model_dump() | {"defense": None, "parent": parent_name, "name": "", "finetune_seed": 0}
    counterpart = Release.model_validate(values)
    same = (other for other in study.releases if other.model_copy(update={"name": counterpart.name}) == counterpart)
    return next(same, counterpart)


def counterparts(study: Study) -> dict[str, str]:
    """The undefended counterpart of each defended release, by name."""
    return {
        release.name: plain.name if (plain := undefended(study, release)) else DENSE
        for release in study.releases
        if defenses_of(study, release)
    }


def repeats(study: Study) -> dict[str, str]:
    """The releases that repeat an earlier one with another `finetune_seed` and the same of all else, by name."""
    firsts: dict[str, Release] = {}  # by all that is said of a release but its name and seed
    found = {}
    for release in study.releases:
        said = release.model_copy(update={"name": "", "finetune_seed": 0}).model_dump_json()
        first = firsts.setdefault(said, release)
        if first.finetune_seed != release.finetune_seed:
            found[release.name] = first.name
    return found


def with_counterparts(study: Study) -> Study:
    """The study, with the undefended releases that the references `undefended` asks for and that it does not name."""
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
