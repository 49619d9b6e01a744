"""mia_prune (Yuan & Zhang, USENIX Security 2022, arXiv 2202.03335): translates its configurations to studies.

A configuration is the JSON file that its commands read, `{"dataset_name": "cifar10", "model_name": "resnet18", ...}`;
omitted settings have the defaults of its command line. Its own 15 configurations are recipes, under `mia-prune/`.

Where the study differs from the system on purpose:
- membership: it has one victim and five shadows. Here there are four such groups, each with its own halves, because
  one victim allows no conclusions about other trainings; `membership.num_models=6` is the published number. Members
  are drawn by independent coins instead of exact halves;
- dev set: it takes 10% of each half. Here 10% of all samples are public, so that no audited sample is used to
  choose a checkpoint;
- `adv` and `dp` follow the papers, not its code: an epoch of its `adv` is seven steps of the attacker and one of the
  network; its `dp` clips microbatches of 64 samples, by plain SGD, and every epoch has a whole training's steps. The
  files of the two defences list all differences;
- the study has every pruner that the network allows, at 70%, and also PPB and a baseline with the same extra epochs
  and without a mask. Its commands make one release at a time: `pruneaudit mia-prune pretrain`, `prune`, `mia`.
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
"""Its names of methods, with our compressors and the settings that reproduce them."""
DEFAULT_PRUNER = "l1unstructure"
DEFEND_ARG = 4
"""The default main parameter of PPB and of adversarial regularisation."""
DEFEND_ARGS = {"ppb": DEFEND_ARG, "adv": DEFEND_ARG, "dp": 0.1}
"""The default main parameters of its defences; for DP-SGD (its `prune_dp.py`) the noise."""


class _DataSet(NamedTuple):
    num_samples: int
    """The number of samples in all official parts together."""
    num_classes: int
    input_dim: int
    """Channels of an image, or features of a row."""


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
    """Its files also use `vgg16bn` for `vgg16`."""
    num_cls: int | None = None
    """Number of classes; must match the data set."""
    input_dim: int | None = None
    """Channels of an image, or features of a row; must match the data set."""
    image_size: int | None = None
    """No effect, here as in mia_prune."""
    hidden_size: int | None = None
    """No effect, here as in mia_prune."""
    epochs: int = Field(default=50, ge=1, le=100_000)
    """Training epochs; fine-tuning after pruning has half as many."""
    optimizer: Literal["adam", "sgd"] = "adam"
    lr: float = Field(default=1e-3, gt=0)
    weight_decay: float = Field(default=5e-4, ge=0)
    batch_size: int = Field(default=128, ge=1)
    seed: int = Field(default=7, ge=0, lt=2**63)
    early_stop: int = Field(default=5, ge=0)
    """Training stops after more than this many epochs in a row without a better dev accuracy."""
    shadow_num: int = Field(default=5, ge=1)
    """Number of shadows per victim."""

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
                raise ValueError(f"{key} = {got}, expected {expected} for {self.dataset_name} (or leave it out)")
        if (self.model_name == _TABLE_NETWORK) != self.is_table:
            fitting = (
                _TABLE_NETWORK if self.is_table else ", ".join(name for name in NETWORKS if name != _TABLE_NETWORK)
            )
            raise ValueError(f"model_name = '{self.model_name}', expected for {self.dataset_name}: {fitting}")
        return self

    @property
    def is_table(self) -> bool:
        """Whether the samples are rows of a table rather than images."""
        return DATA_SETS[self.dataset_name].input_dim > 3

    @property
    def name(self) -> str:
        """Data set and network; tables have only one network, which is omitted."""
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
    """Makes a configuration from the settings of a file called `where`.

    Raises:
        UserError: a key is unknown, or a value is wrong.
    """
    return validated(Config, dict(values), where)


def release_name(pruner: str, sparsity: float, defend: str = "", defend_arg: object = None) -> str:
    """Returns its name of a pruned network: `l1unstructure_0.7`, with a defence `l1unstructure_0.7_ppb_4`."""
    parts = [pruner, f"{sparsity:g}", *([defend] if defend else [])]
    if defend and defend_arg is not None:
        parts.append(f"{defend_arg:g}" if isinstance(defend_arg, int | float) else str(defend_arg))
    return "_".join(parts)


def study_of(config: Config) -> Study:
    """Translates a configuration to a study: every pruner that the network allows, PPB, and all five attacks."""
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
            " and their shadows draw members from disjoint halves of the data; pruning with fine-tuning, with and"
            " without PPB; SAMIA and four other attacks, adaptive and non-adaptive.",
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
    """Returns the methods that the network allows: filter pruning needs convolutions, slim needs BatchNorm."""
    return [DEFAULT_PRUNER] if config.is_table else list(PRUNERS)


def load_study(given: str, overrides: Sequence[str] = (), options: Mapping[str, Any] | None = None) -> Study:
    """Loads the study for its commands; options of its command line override the file.

    Args:
        given: one of its files or recipes, or any other study.
        overrides: changes to the study's settings, as `a.b=value`.
        options: options of its command line, by the keys of `Config`; not allowed with other studies.

    Raises:
        UserError: the study does not exist, or something in it is wrong.
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
            f"{given}: got {', '.join(options)}, which are for mia_prune's configurations only; for other studies use"
            " --set, such as --set training.epochs=5"
        )
    return SYSTEM.study(settings | dict(options), given).changed(overrides, given)


class MiaPrune(System):
    """mia_prune, with its own configurations and those in files."""

    recipes = tuple(RECIPES)

    def recipe(self, name: str) -> Study:
        """Returns the study of one of its configurations."""
        return study_of(RECIPES[name])

    def reads(self, settings: Mapping[str, Any]) -> bool:
        """Returns whether the settings name a data set, as only its configuration files do."""
        return "dataset_name" in settings

    def study(self, settings: Mapping[str, Any], where: str) -> Study:
        """Translates a configuration to a study."""
        return study_of(config_of(settings, where))


SYSTEM = MiaPrune()
