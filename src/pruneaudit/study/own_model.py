"""Makes the settings of a study that audits one model of the user, from a few facts about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest
from pruneaudit.study.former import FORMAT
from pruneaudit.study.plugins import Source, as_network
from pruneaudit.study.releases import name_of_file

ALONE = "alone"
"""The group of attacks that need no reference; attacks that need a larger holdout are left out."""
MIN_ONLINE = 2
"""From this number of references on, RMIA compares with references of both kinds."""
MIN_LIRA = 4


@dataclass(frozen=True)
class OwnModel:
    """What a user says about a trained model and its compressed versions."""

    weights: str
    """The file with the weights."""
    member: str
    """The file that lists the members: the samples that it was trained on."""
    data: str
    """All samples, members and others: a source, such as `npz:FILE`."""
    network: str
    """`module:function` that makes the network, or a packaged network."""
    network_options: Mapping[str, Any] = field(default_factory=dict)
    """Arguments of that function."""
    weights_key: str = ""
    """Key of the weights in the file."""
    function: str = ""
    """`module:function` that trains a reference; empty: the package's loop."""
    canaries: str = ""
    """The file of canaries that it was trained with."""
    num_references: int = 4
    """Number of references to train."""
    compressed: Mapping[str, str] = field(default_factory=dict)
    """Files of compressed versions by name."""
    recipes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Compressors of each version, by name, in order."""
    finetune: Mapping[str, int] = field(default_factory=dict)
    """Epochs of fine-tuning after the compression, by name; the empty name stands for all other versions."""
    finetune_rate: float | None = None
    """Learning rate of the fine-tuning; None: as in training."""
    num_public: int = 0
    """Number of non-members that may influence models."""
    mean: tuple[float, ...] | None = None
    """Mean per channel with which uint8 images are normalised."""
    std: tuple[float, ...] | None = None
    """Standard deviation per channel by which they are divided."""


def attacks_for(num_references: int) -> list[str]:
    """Returns the attacks that a number of references allows, those without references first.

    Example:
        >>> attacks_for(1)[-1]
        'rmia:mode=offline'
    """
    found = [ALONE]
    if num_references:
        found.append("rmia:mode=offline")
    if num_references >= MIN_ONLINE:
        found.append("rmia")
    if num_references >= MIN_LIRA:
        found.append("lira")
    return found


def with_references(settings: Mapping[str, Any], num_references: int) -> dict[str, Any]:
    """Returns the settings of a study with another number of references, and the attacks that it allows."""
    return {
        **settings,
        "target": {**settings["target"], "num_references": num_references},
        "audit": {**settings.get("audit", {}), "attacks": attacks_for(num_references)},
    }


def own_model_settings(asked: OwnModel, name: str = "") -> dict[str, Any]:
    """Returns the settings of a study that audits the model, as in a study file.

    Args:
        asked: the model.
        name: the study's name; default: that of the weights file.

    Raises:
        UserError: a recipe or a number of epochs names no version.

    Example:
        >>> asked = OwnModel("prod.pt", "ids.txt", "npz:data.npz", "nets:build")
        >>> own_model_settings(asked)["target"]
        {'weights': 'prod.pt', 'member': 'ids.txt', 'num_references': 4}
    """
    named = name or name_of_file(asked.weights) or "model"
    network = {"target": asked.network, "arguments": dict(asked.network_options)}
    is_function = as_network(asked.network) != asked.network
    target: dict[str, Any] = {"weights": asked.weights, "weights_key": asked.weights_key, "member": asked.member}
    target |= {"canaries": asked.canaries}
    target |= {"num_references": asked.num_references, "mean": asked.mean, "std": asked.std}
    return {
        "name": named,
        "format": FORMAT,
        "model": {"name": "factory", "options": _given(network)}
        if is_function
        else {"name": asked.network, "options": dict(asked.network_options)},
        "data": _given({"source": Source.parse(asked.data), "num_public": asked.num_public}),
        "target": _given(target),
        **({"training": {"function": asked.function}} if asked.function else {}),
        "releases": _releases(asked),
        "audit": {"attacks": attacks_for(asked.num_references)},
    }


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that are not empty; 0 references are."""
    return {key: value for key, value in values.items() if value or key == "num_references"}


def _releases(asked: OwnModel) -> list[dict[str, Any]]:
    """The compressed versions, in the order in which they were named."""
    names = list(dict.fromkeys((*asked.compressed, *asked.recipes)))
    for option, given in (("--recipe", asked.recipes), ("--finetune", asked.finetune)):
        for name in given:
            if name and name not in names:
                raise UserError(f"{option}: got '{name}'{nearest(name, names)}, expected one of: {', '.join(names)}")
    found = []
    for name in names:
        release: dict[str, Any] = {"name": name}
        if name in asked.compressed:
            release["weights"] = asked.compressed[name]
        if name in asked.recipes:
            release["compress"] = list(asked.recipes[name])
            epochs = asked.finetune.get(name, asked.finetune.get("", 0))
            rate = {} if asked.finetune_rate is None else {"learning_rate": asked.finetune_rate}
            release |= {"finetune": {"epochs": epochs, **rate}} if epochs else {}
        found.append(release)
    return found
