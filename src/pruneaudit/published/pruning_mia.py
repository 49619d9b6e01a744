"""Pruning_MIA: dense, static and DPF networks over a grid of sparsities, under nine attacks, as one study.

The grid is that of its `train.py`; its `run_experiment.py` trains one cell. The training is as in the system: SGD,
x 0.1 at half and at three quarters of the epochs, random crop and flip, its ResNets and wide ResNets, masks from new
weights with one threshold over all convolutions (preset `pruning_mia` of `static` and `dpf`).

Where the study differs from the system on purpose:
- membership: its networks are all trained on the same 50,000 samples, so no sample is a member of one network and a
  non-member of another, and memorisation cannot be distinguished from properties of the sample. Here 16 models per cell
  draw their members by independent coins from 50,000 samples, training and test part shuffled together, and train on
  about 25,000 each. The other 10,000 are the holdout: samples that calibrate an attack are never audited;
- `dense` is always included, because every comparison needs it;
- settings in epochs scale with the number of epochs: in its code a run of 50 epochs never reaches its sparsity (the
  ramp ends at epoch 75) and never freezes its mask. Here both keep their fraction of the training, unless they are
  set;
- the released weights are those of the last epoch; it keeps the epoch that is best on the samples it then audits.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.study import DENSE, Name, Plugin, Release, Source, Study
from pruneaudit.study.recipes import System

FOLDER = "pruning-mia"
Method = Literal["dense", "static", "dpf"]
METHODS: tuple[Method, ...] = ("dense", "static", "dpf")
"""The methods, in the order of its releases."""
Sparsity = Annotated[float, Field(gt=0, lt=1)]
PRESET = "pruning_mia"
SEED = 42
"""The default seed, which its names omit."""
EPOCHS, MILESTONES, TARGET_EPOCH, FREEZE_EPOCH = 200, (100, 150), 75, 180
PRUNE_FREQ = 16
LAYERS = {"resnet": 20, "wideresnet": 28}
WIDTHS = {"resnet": 1, "wideresnet": 10}
FIRST_BOTTLENECK = 44
"""Its ResNets of at least this depth have bottleneck blocks."""
RESNET_CHANNELS = 16
SIZES = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}
"""Numbers of audited and holdout samples, of 60,000; other data sets are audited completely."""

OWN_FILES = ("images", "npz", "table")
"""Sources that read a user's file or folder, whose name is then used instead of theirs."""


class Grid(Options):
    """The options of its `train.py` and `run_experiment.py`."""

    methods: tuple[Method, ...] = Field(default=METHODS, min_length=1)
    sparsities: tuple[Sparsity, ...] = Field(default=(0.5, 0.7, 0.8, 0.9, 0.95), min_length=1)
    """Fractions of the weights of all convolutions to remove, for each method except dense."""
    name: Name | None = None
    """The name of the release, if there is only one; default: method and sparsity, `dpf_sparsity_0.9`."""
    dataset: Source = Source(name="cifar10")
    """The data source: any source of pruneaudit; Pruning_MIA had cifar10 and cifar100."""
    arch: Literal["resnet", "wideresnet"] = "resnet"
    layers: int | None = None
    """Depth: 6n + 2 for resnet, default 20; 6n + 4 for wideresnet, default 28."""
    width: int | None = Field(default=None, ge=1, le=64)
    """Width of the first stage in units of 16 channels; default 1, for wideresnet 10."""
    epochs: int = Field(default=EPOCHS, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=1)
    lr: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    seed: int = Field(default=SEED, ge=0, lt=2**63)
    prune_freq: int = Field(default=PRUNE_FREQ, ge=1)
    """dpf: steps between mask updates."""
    target_epoch: int | None = Field(default=None, ge=1)
    """dpf: epoch from which the full sparsity holds; default: 75 of 200, or the same fraction of others."""
    freeze_epoch: int | None = Field(default=None, ge=-1)
    """dpf: epoch from which the mask is fixed; -1: never; default: 180 of 200, or the same fraction of others."""
    num_models: int = Field(default=16, ge=2, le=10_000)
    """Models per release. Pruning_MIA has one; here each sample needs models trained with it and without it."""
    attacks: tuple[Plugin, ...] = Field(default=(Plugin(name="advanced"), Plugin(name="wemem")), min_length=1)
    """Its two families, with nine attacks."""

    @field_validator("methods")
    @classmethod
    def _in_its_order(cls, methods: tuple[Method, ...]) -> tuple[Method, ...]:
        return tuple(method for method in METHODS if method in methods)

    @field_validator("sparsities")
    @classmethod
    def _ascending(cls, sparsities: tuple[float, ...]) -> tuple[float, ...]:
        return tuple(sorted(set(sparsities)))

    @model_validator(mode="after")
    def _epochs_go_together(self) -> Grid:
        if self.target_epoch is not None and self.target_epoch > self.epochs:
            raise ValueError(
                f"target_epoch = {self.target_epoch} is after the last of {self.epochs} epochs: the sparsity would"
                " never be reached; lower it, or leave it out"
            )
        if self.ramp_end > self.freeze_at:
            raise ValueError(
                f"the mask would be fixed from epoch {self.freeze_at * self.epochs:g}, before it reaches its sparsity"
                f" in epoch {self.ramp_end * self.epochs:g}; raise freeze_epoch, or lower target_epoch"
            )
        return self

    @model_validator(mode="after")
    def _a_name_names_one(self) -> Grid:
        pruned = [method for method in self.methods if method != DENSE]
        if self.name and len(pruned) * len(self.sparsities) != 1:
            raise ValueError(
                f"name = '{self.name}' is for one release, got {len(pruned)} pruned methods at {len(self.sparsities)}"
                " sparsities; give one of each, such as --methods dpf --sparsities 0.9"
            )
        return self

    @property
    def ramp_end(self) -> float:
        """Fraction of the training after which the full sparsity holds."""
        return TARGET_EPOCH / EPOCHS if self.target_epoch is None else self.target_epoch / self.epochs

    @property
    def freeze_at(self) -> float:
        """Fraction of the training after which the mask is fixed; 1: never."""
        if self.freeze_epoch is None:
            return FREEZE_EPOCH / EPOCHS
        return 1.0 if self.freeze_epoch == -1 else min(1.0, self.freeze_epoch / self.epochs)

    @property
    def milestones(self) -> tuple[int, ...]:
        """Epochs after which the learning rate is divided by 10: 100 and 150 of 200, or the same fractions."""
        return tuple(sorted({max(1, self.epochs * milestone // EPOCHS) for milestone in MILESTONES}))

    @property
    def network(self) -> Plugin:
        """Our network with the options that reproduce its network."""
        layers, width = self.layers or LAYERS[self.arch], self.width or WIDTHS[self.arch]
        if self.arch == "wideresnet":
            return Plugin(name=self.arch, options={"depth": layers, "width_factor": width})
        options: dict[str, Any] = {"depth": layers, "shortcut": "B"}
        options |= {"width": RESNET_CHANNELS * width} if width > 1 else {}
        options |= {"block": "bottleneck"} if layers >= FIRST_BOTTLENECK else {}
        return Plugin(name=self.arch, options=options)

    @property
    def study_name(self) -> str:
        """The name of the study: data set, and network and seed unless they are the defaults."""
        layers, width = self.layers or LAYERS[self.arch], self.width or WIDTHS[self.arch]
        name = f"{FOLDER}-{dataset_name(self.dataset)}"
        if (self.arch, layers, width) != ("resnet", LAYERS["resnet"], WIDTHS["resnet"]):
            name += f"-{self.arch}{layers}" + (f"x{width}" if width != WIDTHS["resnet"] else "")
        return name + seed_suffix(self.seed)


RECIPES: Mapping[str, Grid] = {
    f"{FOLDER}/cifar10": Grid(),
    f"{FOLDER}/cifar100": Grid(dataset=Source(name="cifar100")),
}
"""The grid on its two data sets."""


def study_of(grid: Grid) -> Study:
    """Returns the study that trains and attacks a grid, or a part of it.

    A part of a grid is the same study with fewer releases, so the whole grid reuses its networks.
    """
    num_samples, num_holdout = SIZES.get(grid.dataset.name, (None, 0))
    return validated(
        Study,
        {
            "name": grid.study_name,
            "description": f"Pruning_MIA's grid on {dataset_name(grid.dataset)} with {grid.arch}: dense networks,"
            " static masks and dynamic ones with feedback (dpf), from new weights, under its nine attacks.",
            "seed": grid.seed,
            "model": grid.network,
            "data": {"source": grid.dataset, "num_samples": num_samples, "num_holdout": num_holdout},
            "membership": {"protocol": "pooled", "num_models": grid.num_models},
            "training": {
                "epochs": grid.epochs,
                "batch_size": grid.batch_size,
                "optimizer": "sgd",
                "learning_rate": grid.lr,
                "momentum": grid.momentum,
                "weight_decay": grid.weight_decay,
                "schedule": "step",
                "milestones": grid.milestones,
                "decay": 0.1,
                "augment": "crop_flip",
            },
            "releases": [
                {
                    "name": grid.name or f"{method}_sparsity_{sparsity}",
                    "compress": _static() if method == "static" else _dpf(grid),
                    "sparsity": sparsity,
                }
                for method in grid.methods
                if method != DENSE
                for sparsity in grid.sparsities
            ],
            "audit": {"attacks": grid.attacks, "references": ["matched"]},
        },
        FOLDER,
    )


def _static() -> Plugin:
    return Plugin(name="static", options={"preset": PRESET})


def _dpf(grid: Grid) -> Plugin:
    """Returns the preset or, with other settings, its expanded options with these settings."""
    asked = (grid.prune_freq, grid.ramp_end, grid.freeze_at)
    if asked == (PRUNE_FREQ, TARGET_EPOCH / EPOCHS, FREEZE_EPOCH / EPOCHS):
        return Plugin(name="dpf", options={"preset": PRESET})
    options: dict[str, Any] = {"start": "init", "scope": "global", "layers": "convolutions", "ramp_by": "epoch"}
    options |= dict(zip(("period_steps", "ramp_end", "freeze_at"), asked, strict=True))
    return Plugin(name="dpf", options=options)


def united(asked: Study, so_far: Study) -> Study:
    """Returns the requested study with the releases of the run folder's study added.

    So the parts of a grid, run one by one, add up to the whole grid. A release that equals an existing one is not added
    again under another name.

    Args:
        asked: the study to run.
        so_far: the study in its run folder.

    Raises:
        UserError: a release has the name of a different existing release.
    """
    if not same_study(asked, so_far):
        return asked
    there = {_deed(release): release for release in so_far.releases}
    for release in asked.releases:
        other = next((old for old in so_far.releases if old.name == release.name), None)
        if other is not None and _deed(other) != _deed(release):
            raise UserError(
                f"release '{release.name}': the run of study '{asked.name}' has another release of that name"
                f" ({_said(other)}, not {_said(release)}); choose another --name"
            )
    new = [release for release in asked.releases if _deed(release) not in there]
    releases = sorted([*so_far.releases, *new], key=_place)
    return asked.model_copy(update={"releases": tuple(releases)})


def same_study(one: Study, other: Study, but: Sequence[str] = ()) -> bool:
    """Returns whether two studies differ at most in releases, attacker, `keep_weights`, and the settings in `but`."""
    left_out = {"releases", "audit", "keep_weights", *but}
    return one.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)


def _deed(release: Release) -> str:
    """Returns the settings of a release except its name."""
    return release.model_dump_json(exclude={"name"})


def _said(release: Release) -> str:
    return f"{release.method} at {asked_sparsity(release):g}" if release.compress else "no pruning"


def _place(release: Release) -> tuple[int, float, str]:
    """Returns the sort key of a release in the grid; releases outside the grid come last."""
    method = method_of(release)
    place = METHODS.index(method) if method in METHODS else len(METHODS)
    return place, asked_sparsity(release), release.name


def method_of(release: Release | None) -> str:
    """Returns the method of a release in its tables: the compressors; `dense` without any, or for None."""
    return "+".join(plugin.name for plugin in release.compress) if release is not None and release.compress else DENSE


def asked_sparsity(release: Release | None) -> float:
    """Returns the requested sparsity; 0 if there is none, and for the dense bank (None)."""
    return (release.asked("sparsity") if release else None) or 0.0


def dataset_name(source: Source) -> str:
    """Returns the data set in its names: the source, or the name of the user's file."""
    own = PurePath(str(source.options.get("path", ""))).stem if source.name in OWN_FILES else ""
    return re.sub(r"[^A-Za-z0-9_+=-]", "_", own or source.name)[:40]


def experiment_name(release: str, source: Source) -> str:
    """Returns a release's name in its tables: `static_sparsity_0.8_cifar10`."""
    return f"{release}_{dataset_name(source)}"


def seed_suffix(seed: int) -> str:
    """Returns the suffix of names for a seed; empty for the default seed."""
    return "" if seed == SEED else f"-seed{seed}"


def base_name(study: Study) -> str:
    """Returns the study's name without its seed suffix."""
    return study.name.removesuffix(seed_suffix(study.seed))


class PruningMia(System):
    """Pruning_MIA, with its grid on its two data sets."""

    recipes = tuple(RECIPES)

    def recipe(self, name: str) -> Study:
        """Returns the study of a whole grid."""
        return study_of(RECIPES[name])


SYSTEM = PruningMia()
