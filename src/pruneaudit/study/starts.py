"""The initial weights of a study's networks: a draw for each, one draw for all, or weights from a file."""

from __future__ import annotations

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import registry_of
from pruneaudit.study.lineage import plugin_options
from pruneaudit.study.plugins import Plugin
from pruneaudit.study.releases import Release
from pruneaudit.study.study import Study
from pruneaudit.study.training import OWN


def folder_of(model: Plugin | None) -> str:
    """Returns the user's folder that the first weights of a network come from; empty if there is none."""
    if model is None:
        return ""
    registry = registry_of("model")
    found, options = registry.get(model.name), plugin_options(registry, model, "model")
    return str(found.folder(options)) if found.starts_from_folder(options) else ""


def starts_are_own(study: Study) -> bool:
    """Returns whether each dense network draws all of its initial weights."""
    return study.base is None and study.training.init == OWN and not folder_of(study.model)


def start_fits_one_network(study: Study) -> bool:
    """Returns whether the common start is weights of one network, which no other `model` can start from."""
    return study.base is not None or bool(study.training.init_file or folder_of(study.model))


def has_new_heads(study: Study) -> bool:
    """Returns whether each dense network draws its own head, and starts from common weights in all other layers."""
    if study.base is not None:
        return study.base.head == "new"
    registry = registry_of("model")
    return bool(registry.get(study.model.name).has_new_head(plugin_options(registry, study.model, "model")))


def check_starts(study: Study) -> None:
    """Refuses two starts for the same networks, and a folder of weights where none can start from it.

    Raises:
        UserError: there is one.
    """
    if (folder := folder_of(study.model)) and study.training.init != OWN:
        raise UserError(
            f"training.init: got '{study.training.init}' together with a model from the folder {folder}, but all "
            f"networks start from the weights in that folder; leave it out, or set the model's from_scratch = true"
        )
    for release in study.releases:
        _check_release(release)


def _check_release(release: Release) -> None:
    if folder := folder_of(release.model):
        raise UserError(
            f"release '{release.name}': got a model from the folder {folder}, but only the study's own model can "
            f"start from weights in a folder; set from_scratch = true to take only the architecture"
        )
