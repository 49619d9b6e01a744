"""Pruning_MIA: dense, static and DPF networks over a grid of sparsities, under nine attacks, as one study.

The grid is what its `train.py` goes through; one cell of it is what its `run_experiment.py` trains. The recipe is its
own: SGD, x.1 at half and at three quarters of the epochs, random crop and flip, its ResNets and wide ResNets, masks
from new weights under one threshold over all convolutions (preset `pruning_mia` of `static` and `dpf`).

Where the study differs from the system on purpose:
- membership: its networks are all trained on the same 50,000 samples, so that no sample is a member of one and not of
  another, and nothing tells what a network knows of a sample from what the sample is like. Here 16 models per cell
  draw their members by independent coins from 50,000 samples, training and test part shuffled together, and train on
  about 25,000 each. The other 10,000 are the holdout: what calibrates an attack is never audited;
- `dense` is always there, since every comparison needs it;
- fewer epochs than 200 scale what is counted in epochs: in its code a run of 50 epochs never reaches its sparsity
  (the ramp goes on to epoch 75) and never freezes its mask. Here both keep their fraction of the training, unless
  they are given;
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
"""In the order in which its releases stand."""
Sparsity = Annotated[float, Field(gt=0, lt=1)]
PRESET = "pruning_mia"
SEED = 42
"""The seed that its names leave out."""
EPOCHS, MILESTONES, TARGET_EPOCH, FREEZE_EPOCH = 200, (100, 150), 75, 180
PRUNE_FREQ = 16
LAYERS = {"resnet": 20, "wideresnet": 28}
WIDTHS = {"resnet": 1, "wideresnet": 10}
FIRST_BOTTLENECK = 44
"""Its ResNets of this depth and more are made of bottleneck blocks."""
RESNET_CHANNELS = 16
SIZES = {"cifar10": (50_000, 10_000), "cifar100": (50_000, 10_000)}
"""Audited and holdout samples, of 60,000; of any other data set all samples are audited."""

OWN_FILES = ("images", "npz", "table")
"""Sources that read a user's own file or folder, whose name says more than theirs."""


class Grid(Options):
    """What its `train.py` and `run_experiment.py` are told."""

    methods: tuple[Method, ...] = Field(default=METHODS, min_length=1)
    sparsities: tuple[Sparsity, ...] = Field(default=(0.5, 0.7, 0.8, 0.9, 0.95), min_length=1)
    """Fractions of the weights of all convolutions that are removed, for each method but dense."""
    name: Name | None = None
    """Of the one release that is asked for; default: method and sparsity, `dpf_sparsity_0.9`."""
    dataset: Source = Source(name="cifar10")
    """Where samples come from: any source of ours; it had cifar10 and cifar100."""
    arch: Literal["resnet", "wideresnet"] = "resnet"
    layers: int | None = None
    """Depth: 6n + 2 of a resnet, default 20; 6n + 4 of a wideresnet, default 28."""
    width: int | None = Field(default=None, ge=1, le=64)
    """How many times 16 channels the first stage has; default 1, of a wideresnet 10."""
    epochs: int = Field(default=EPOCHS, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=1)
    lr: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    weight_decay: float = Field(default=5e-4, ge=0)
    seed: int = Field(default=SEED, ge=0, lt=2**63)
    prune_freq: int = Field(default=PRUNE_FREQ, ge=1)
    """dpf: steps between two moves of the mask."""
    target_epoch: int | None = Field(default=None, ge=1)
    """dpf: from this epoch on the sparsity is the asked one; default: 75 of 200, and the same fraction of others."""
    freeze_epoch: int | None = Field(default=None, ge=-1)
    """dpf: from this epoch on the mask is held; -1: never. Default: 180 of 200, and the same fraction of others."""
    num_models: int = Field(default=16, ge=2, le=10_000)
    """Models of each release. It has one; a sample needs models that were trained on it, and models that were not."""
    attacks: tuple[Plugin, ...] = Field(default=(Plugin(name="advanced"), Plugin(name="wemem")), min_length=1)
    """Its two families, nine attacks."""

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
                f"target_epoch = {self.target_epoch} comes after the last of {self.epochs} epochs: the asked sparsity"
                " would never be reached; lower it, or leave it out"
            )
        if self.ramp_end > self.freeze_at:
            raise ValueError(
                f"the mask would be held from epoch {self.freeze_at * self.epochs:g} on, before it reaches its sparsity"
                f" in epoch {self.ramp_end * self.epochs:g}; raise freeze_epoch, or lower target_epoch"
            )
        return self

    @model_validator(mode="after")
    def _a_name_names_one(self) -> Grid:
        pruned = [method for method in self.methods if method != DENSE]
        if self.name and len(pruned) * len(self.sparsities) != 1:
            raise ValueError(
                f"name = '{self.name}' names one release, got {len(pruned)} pruned methods at {len(self.sparsities)}"
                " sparsities; give one of each, such as --methods dpf --sparsities 0.9"
            )
        return self

    @property
    def ramp_end(self) -> float:
        """Fraction of the training from which the asked sparsity holds."""
        return TARGET_EPOCH / EPOCHS if self.target_epoch is None else self.target_epoch / self.epochs

    @property
    def freeze_at(self) -> float:
        """Fraction of the training from which the mask is held; 1: never."""
        if self.freeze_epoch is None:
            return FREEZE_EPOCH / EPOCHS
        return 1.0 if self.freeze_epoch == -1 else min(1.0, self.freeze_epoch / self.epochs)

    @property
    def milestones(self) -> tuple[int, ...]:
        """Epochs after which the learning rate falls to a tenth: 100 and 150 of 200, the same fractions of others."""
        return tuple(sorted({max(1, self.epochs * milestone // EPOCHS) for milestone in MILESTONES}))

    @property
    def network(self) -> Plugin:
        """Its network, as ours with the options that make it so."""
        layers, width = self.layers or LAYERS[self.arch], self.width or WIDTHS[self.arch]
        if self.arch == "wideresnet":
            return Plugin(name=self.arch, options={"depth": layers, "width_factor": width})
        options: dict[str, Any] = {"depth": layers, "shortcut": "B"}
        options |= {"width": RESNET_CHANNELS * width} if width > 1 else {}
        options |= {"block": "bottleneck"} if layers >= FIRST_BOTTLENECK else {}
        return Plugin(name=self.arch, options=options)

    @property
    def study_name(self) -> str:
        """The study's: the data set, and the network and the seed where they are not the usual ones."""
        layers, width = self.layers or LAYERS[self.arch], self.width or WIDTHS[self.arch]
        name = f"{FOLDER}-{dataset_name(self.dataset)}"
        if (self.arch, layers, width) != ("resnet", LAYERS["resnet"], WIDTHS["resnet"]):
            name += f"-{self.arch}{layers}" + (f"x{width}" if width != WIDTHS["resnet"] else "")
        return name + seed_suffix(self.seed)


RECIPES: Mapping[str, Grid] = {
    f"{FOLDER}/cifar10": Grid(),
    f"{FOLDER}/cifar100": Grid(dataset=Source(name="cifar100")),
}
"""Its grid on its two data sets."""


def study_of(grid: Grid) -> Study:
    """The study that trains and attacks a grid, or a part of it.

    A part of a grid is the same study with fewer releases, so that what is trained for it serves the whole.
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
    """The preset, or where it is another setting all that the preset means but for that."""
    asked = (grid.prune_freq, grid.ramp_end, grid.freeze_at)
    if asked == (PRUNE_FREQ, TARGET_EPOCH / EPOCHS, FREEZE_EPOCH / EPOCHS):
        return Plugin(name="dpf", options={"preset": PRESET})
    options: dict[str, Any] = {"start": "init", "scope": "global", "layers": "convolutions", "ramp_by": "epoch"}
    options |= dict(zip(("period_steps", "ramp_end", "freeze_at"), asked, strict=True))
    return Plugin(name="dpf", options=options)


def united(asked: Study, so_far: Study) -> Study:
    """The study that is asked for, with the releases of a run folder's study that it leaves out.

    So that parts of a grid, run one by one, end in the study of the whole. A release that does the same as one that is
    there already is not added again under another name.

    Args:
        asked: the study that is to be run.
        so_far: the study in its run folder.

    Raises:
        UserError: a release is asked for under the name of another one that is there.
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
    """Whether two studies differ at most in their releases, the attacker, what is kept, and the settings in `but`."""
    left_out = {"releases", "audit", "keep_weights", *but}
    return one.model_dump(exclude=left_out) == other.model_dump(exclude=left_out)


def _deed(release: Release) -> str:
    """What a release does, whatever it is called."""
    return release.model_dump_json(exclude={"name"})


def _said(release: Release) -> str:
    return f"{release.method} at {asked_sparsity(release):g}" if release.compress else "no pruning"


def _place(release: Release) -> tuple[int, float, str]:
    """Where a release stands in the grid; what is no part of it stands last."""
    method = method_of(release)
    place = METHODS.index(method) if method in METHODS else len(METHODS)
    return place, asked_sparsity(release), release.name


def method_of(release: Release | None) -> str:
    """What its tables call a release's method: the compressors; `dense` where there are none, or for None."""
    return "+".join(plugin.name for plugin in release.compress) if release is not None and release.compress else DENSE


def asked_sparsity(release: Release | None) -> float:
    """The sparsity that was asked for; 0 where none was, and of the dense bank (None)."""
    return (release.asked("sparsity") if release else None) or 0.0


def dataset_name(source: Source) -> str:
    """What its names call a data set: the source, or the name of the user's file."""
    own = PurePath(str(source.options.get("path", ""))).stem if source.name in OWN_FILES else ""
    return re.sub(r"[^A-Za-z0-9_+=-]", "_", own or source.name)[:40]


def experiment_name(release: str, source: Source) -> str:
    """What its tables call a release: `static_sparsity_0.8_cifar10`."""
    return f"{release}_{dataset_name(source)}"


def seed_suffix(seed: int) -> str:
    """What a seed other than the usual one adds to a name."""
    return "" if seed == SEED else f"-seed{seed}"


def base_name(study: Study) -> str:
    """The study's name without what tells its seed."""
    return study.name.removesuffix(seed_suffix(study.seed))


class PruningMia(System):
    """Pruning_MIA, with its grid on its two data sets."""

    recipes = tuple(RECIPES)

    def recipe(self, name: str) -> Study:
        """A whole grid."""
        return study_of(RECIPES[name])


SYSTEM = PruningMia()
