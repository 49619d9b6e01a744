"""mia_prune (Yuan & Zhang, USENIX Security 2022, arXiv 2202.03335): its configurations as studies.

A configuration is the JSON file that its commands read, `{"dataset_name": "cifar10", "model_name": "resnet18", ...}`;
what a file leaves out is as in its command line. The 15 that it comes with are recipes, under `mia-prune/`.

Where the study differs from the system on purpose:
- membership: it has one victim and five shadows. Here there are four such groups, each with halves of its own, because
  one victim allows no statement about another training; `membership.num_models=6` is the published number. Members
  are drawn by independent coins, where it takes exact halves;
- dev set: it takes 10% of each half. Here 10% of all samples are public ones, so that no audited sample ever
  chooses a checkpoint;
- `adv` and `dp` follow the papers, not its code: an epoch of its `adv` is seven steps of the attacker and one of the
  network; its `dp` clips microbatches of 64 samples, by plain SGD, and every epoch has a whole training's steps. The
  files of the two defences say all that differs;
- the study has every pruner that the network allows, at 70%, beside PPB and a baseline that got the same extra epochs
  and no mask. Its commands make one at a time: `pruneaudit mia-prune pretrain`,
  `prune`, `mia`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.core.settings_file import parse_settings, read_settings
from pruneaudit.study import Study
from pruneaudit.study.recipes import System, load_recipe_or_file

NUM_VICTIMS = 4
DEV_FRACTION = 0.1
SPARSITY = 0.7
FOLDER = "mia-prune"
PRUNERS = {
    "l1unstructure": "l1unstructured:preset=mia_prune",
    "l1structure": "l1structured:preset=mia_prune",
    "l2structure": "l2structured:preset=mia_prune",
    "slim": "slim:preset=mia_prune",
}
"""Its names of methods, as ours with the settings that reproduce it."""
DEFAULT_PRUNER = "l1unstructure"
DEFEND_ARG = 4
"""The main parameter of PPB and of adversarial regularisation, unless another is given."""
DEFEND_ARGS = {"ppb": DEFEND_ARG, "adv": DEFEND_ARG, "dp": 0.1}
"""The main parameters of its defences, unless others are given; of DP-SGD (`prune_dp.py` there) the noise."""


class _DataSet(NamedTuple):
    num_samples: int
    """Of all official parts together."""
    num_classes: int
    input_dim: int
    """Channels of an image, features of a row."""


DATA_SETS = {
    "cifar10": _DataSet(60_000, 10, 3),
    "cifar100": _DataSet(60_000, 100, 3),
    "svhn": _DataSet(99_289, 10, 3),
    "chmnist": _DataSet(5_000, 8, 3),
    "location": _DataSet(5_010, 30, 446),
    "purchase100": _DataSet(197_324, 100, 600),
    "texas100": _DataSet(67_330, 100, 6_169),
}
NETWORKS = {
    "resnet18": "resnet18:max_pool=true:init=xavier_normal",
    "densenet121": "densenet121",
    "vgg16": "vgg16",
    "columnfc": "columnfc",
}
_TABLE_NETWORK = "columnfc"


class Config(Options):
    """A configuration file, with the options of its command line."""

    dataset_name: Literal["cifar10", "cifar100", "svhn", "chmnist", "location", "purchase100", "texas100"]
    model_name: Literal["resnet18", "densenet121", "vgg16", "columnfc"]
    """Its files also say `vgg16bn`, which is `vgg16`."""
    num_cls: int | None = None
    """Classes; what the data set has."""
    input_dim: int | None = None
    """Channels of an image, features of a row; what the data set has."""
    image_size: int | None = None
    """Has no effect there, and none here."""
    hidden_size: int | None = None
    """Has no effect there, and none here."""
    epochs: int = Field(default=50, ge=1, le=100_000)
    """Of the training; fine-tuning after pruning has half as many."""
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    batch_size: int = Field(default=128, ge=1)
    seed: int = Field(default=7, ge=0, lt=2**63)
    early_stop: int = Field(default=5, ge=0)
    """Training ends after more than so many epochs in a row without a better dev accuracy."""
    shadow_num: int = Field(default=5, ge=1)
    """Shadows of each victim."""

    @field_validator("model_name", mode="before")
    @classmethod
    def _its_other_name(cls, name: Any) -> Any:
        return "vgg16" if name == "vgg16bn" else name

    @model_validator(mode="after")
    def _goes_with_the_data(self) -> Config:
        data = DATA_SETS[self.dataset_name]
        for key, got, expected in (
            ("num_cls", self.num_cls, data.num_classes),
            ("input_dim", self.input_dim, data.input_dim),
        ):
            if got not in (None, expected):
                raise ValueError(f"{key} = {got}, expected {expected}, which {self.dataset_name} has (or leave it out)")
        if (self.model_name == _TABLE_NETWORK) != self.is_table:
            fitting = (
                _TABLE_NETWORK if self.is_table else ", ".join(name for name in NETWORKS if name != _TABLE_NETWORK)
            )
            raise ValueError(f"model_name = '{self.model_name}', expected for {self.dataset_name}: {fitting}")
        return self

    @property
    def is_table(self) -> bool:
        """Whether the samples are rows of a table, not images."""
        return DATA_SETS[self.dataset_name].input_dim > 3

    @property
    def name(self) -> str:
        """Data set and network; a table has one network, which is not named."""
        return self.dataset_name if self.is_table else f"{self.dataset_name}-{self.model_name}"


def _its_own() -> dict[str, Config]:
    images, networks = ("cifar10", "cifar100", "svhn", "chmnist"), ("resnet18", "densenet121", "vgg16")
    tables = ("location", "purchase100", "texas100")
    configs = [Config(dataset_name=data, model_name=net, epochs=100) for data in images for net in networks]
    configs += [Config(dataset_name=data, model_name=_TABLE_NETWORK, epochs=50) for data in tables]
    return {f"{FOLDER}/{config.name}": config for config in configs}


RECIPES: Mapping[str, Config] = _its_own()
"""Its 15 configurations."""


def config_of(values: Mapping[str, Any], where: str) -> Config:
    """A configuration from the settings of a file called `where`.

    Raises:
        UserError: a key is unknown, or a value is wrong.
    """
    return validated(Config, dict(values), where)


def release_name(pruner: str, sparsity: float, defend: str = "", defend_arg: object = None) -> str:
    """What it calls a pruned network: `l1unstructure_0.7`, with a defence `l1unstructure_0.7_ppb_4`."""
    parts = [pruner, f"{sparsity:g}", *([defend] if defend else [])]
    if defend and defend_arg is not None:
        parts.append(f"{defend_arg:g}" if isinstance(defend_arg, int | float) else str(defend_arg))
    return "_".join(parts)


def study_of(config: Config) -> Study:
    """A configuration as a study: every pruner that the network allows, PPB, and all five attacks."""
    data, finetune = DATA_SETS[config.dataset_name], {"epochs": max(1, config.epochs // 2)}
    pruned = [
        {"name": release_name(name, SPARSITY), "compress": PRUNERS[name], "sparsity": SPARSITY, "finetune": finetune}
        for name in _pruners_for(config)
    ]
    defended = {
        "name": release_name(DEFAULT_PRUNER, SPARSITY, "ppb", DEFEND_ARG),
        "defense": f"ppb:strength={DEFEND_ARG}",
    }
    return validated(
        Study,
        {
            "name": f"{FOLDER}-{config.name}",
            "description": f"mia_prune (arXiv 2202.03335) on {config.dataset_name} with {config.model_name}: victims"
            " and their shadows draw from halves of the data that do not meet; pruning with fine-tuning, with PPB and"
            " without; SAMIA and four other attacks, adaptive and not.",
            "seed": config.seed,
            "model": NETWORKS[config.model_name],
            "data": {"source": config.dataset_name, "num_public": round(DEV_FRACTION * data.num_samples)},
            "membership": {
                "protocol": "disjoint",
                "num_shadows": config.shadow_num,
                "num_models": NUM_VICTIMS * (1 + config.shadow_num),
            },
            "training": {
                "epochs": config.epochs,
                "batch_size": config.batch_size,
                "optimizer": config.optimizer,
                "learning_rate": config.lr,
                "weight_decay": config.weight_decay,
                "schedule": "constant",
                "select": "best_dev",
                "patience": config.early_stop,
            },
            "releases": [{"finetune": finetune}, *pruned, {**pruned[0], **defended}],
            "audit": {
                "attacks": ["samia", "threshold", "nn", "nn_top3", "nn_cls"],
                "references": ["matched", "undefended"],
            },
        },
        f"{FOLDER} {config.name}",
    )


def _pruners_for(config: Config) -> list[str]:
    """The methods that the network allows: filters need convolutions, slim needs BatchNorm."""
    return [DEFAULT_PRUNER] if config.is_table else list(PRUNERS)


def load_study(given: str, overrides: Sequence[str] = (), options: Mapping[str, Any] | None = None) -> Study:
    """A study that its commands are given, with options of its command line before what the file says.

    Args:
        given: one of its files or recipes, or any other study.
        overrides: of the study's settings, as `a.b=value`.
        options: of its command line, by the keys of `Config`; no other study takes them.

    Raises:
        UserError: there is no such study, or something in it is wrong.
    """
    if not options:
        return load_recipe_or_file(given, overrides)
    settings: dict[str, Any] = {}
    if given in RECIPES:
        settings = RECIPES[given].model_dump(exclude_unset=True)
    elif given.endswith(".json"):
        settings = parse_settings(read_settings(Path(given)), given, is_json=True)
    if not SYSTEM.reads(settings):
        raise UserError(
            f"{given}: got {', '.join(options)}, which belong to mia_prune's configurations; in any other study use"
            " --set, such as --set training.epochs=5"
        )
    return SYSTEM.study(settings | dict(options), given).changed(overrides, given)


class MiaPrune(System):
    """mia_prune, with the configurations that it comes with and those in files."""

    recipes = tuple(RECIPES)

    def recipe(self, name: str) -> Study:
        """One of its configurations."""
        return study_of(RECIPES[name])

    def reads(self, settings: Mapping[str, Any]) -> bool:
        """Every configuration file of its names a data set, as no study does."""
        return "dataset_name" in settings

    def study(self, settings: Mapping[str, Any], where: str) -> Study:
        """A configuration as a study."""
        return study_of(config_of(settings, where))


SYSTEM = MiaPrune()
