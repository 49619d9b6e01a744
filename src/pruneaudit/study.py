"""A study: everything that is asked, from the data to the report, in one frozen description.

Read from TOML or JSON, validated once, then never changed. A plug-in (data source, model, pruner,
attack) is named here as {name, options}; whether those options are right is checked by
`pipeline/plan.py`, which knows the plug-ins. Where a plug-in is asked for, a text serves too:
`"tinycnn"`, `"lira:mode=offline"`, `"npz:FILE"`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError, field_validator, model_validator

from pruneaudit.errors import UserError
from pruneaudit.options import Options, validated
from pruneaudit.registry import nearest
from pruneaudit.settings_file import parse_settings, read_settings, scalar

MAX_TASKS = 1_000_000
DEFAULT_SHADOWS = 5
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+=-]{0,79}")


def _safe_name(name: str) -> str:
    if not _NAME.fullmatch(name) or ".." in name:
        raise ValueError(f"got {name!r}, expected up to 80 letters, digits and ._+=- (it names a folder)")
    return name


Name = Annotated[str, AfterValidator(_safe_name)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Milestones = tuple[Annotated[int, Field(ge=1)], ...]


class Plugin(Options):
    """One plug-in and its options."""

    name: str
    """Its registered name."""
    options: dict[str, Any] = Field(default={})
    """Its options; the plug-in's own `Options` class says which there are."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return cls.parse(value) if isinstance(value, str) else value

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """`name:key=value:key=value` as {name, options}."""
        name, *pairs = text.split(":")
        wrong = [pair for pair in pairs if "=" not in pair]
        if wrong:
            raise ValueError(f"got '{text}', expected name:key=value ('{wrong[0]}' has no '=')")
        return {
            "name": name.strip(),
            "options": {key.strip(): scalar(text) for key, text in (p.split("=", 1) for p in pairs)},
        }

    @property
    def label(self) -> str:
        """The plug-in as a text: its name, then the options that were given."""
        return ":".join([self.name, *(f"{key}={value}" for key, value in sorted(self.options.items()))])


class Source(Plugin):
    """A data source; as a text, what follows the first colon is a path (`npz:FILE`)."""

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """`name` or `name:PATH` as {name, options}."""
        name, colon, path = text.partition(":")
        return {"name": name, "options": {"path": path} if colon else {}}


class Data(Options):
    """Which samples the study draws on."""

    source: Source = Source(name="fashion_mnist_5k")
    """Where samples come from: the name of a source, `npz:FILE`, or {name, options}."""
    num_samples: int | None = Field(default=None, ge=4)
    """Samples that are members or non-members and are audited; default: all that the reserve leaves."""
    num_reserve: int = Field(default=0, ge=0)
    """Samples in no training set and never audited: dev set, RMIA's z."""
    num_canaries: int = Field(default=0, ge=0)
    """Further samples that get a wrong label, to be memorised: each is in a training set with probability 1/2. They
    show the worst case, have findings of their own, and allow lower bounds on epsilon."""
    label_noise: Fraction = 0.0
    """Fraction of audited samples whose label is replaced by another class, once for the population."""


class Membership(Options):
    """Who is in whose training set."""

    protocol: Literal["pooled", "disjoint"] = "pooled"
    """pooled: each sample is in each model's training set with probability 1/2, independently; every model is a victim
    and the others are its references. disjoint: groups of one victim and its shadows, which draw their members from
    two halves of the population that do not meet."""
    num_models: int = Field(default=16, ge=2, le=10_000)
    """Models in the bank, victims and shadows together."""
    num_shadows: int | None = Field(default=None, ge=1)
    """disjoint: shadows of each victim; default 5."""

    @model_validator(mode="after")
    def _whole_groups(self) -> Membership:
        if self.protocol == "pooled" and self.num_shadows is not None:
            raise ValueError("num_shadows goes with protocol = 'disjoint'; under 'pooled' all models are references")
        size = self.group_size
        if self.protocol == "disjoint" and self.num_models % size:
            fitting = max(1, round(self.num_models / size)) * size
            raise ValueError(
                f"num_models = {self.num_models}, expected a multiple of {size} (one victim and {size - 1} shadows), "
                f"such as {fitting}"
            )
        return self

    @property
    def group_size(self) -> int:
        """Models of one group: a victim and its shadows; under `pooled` all models are one group."""
        if self.protocol == "pooled":
            return self.num_models
        return 1 + (DEFAULT_SHADOWS if self.num_shadows is None else self.num_shadows)

    def group_of(self, model_id: int) -> int:
        """The group of a model."""
        return model_id // self.group_size

    def is_victim(self, model_id: int) -> bool:
        """Whether a model is attacked: under `disjoint` the first of each group."""
        return self.protocol == "pooled" or model_id % self.group_size == 0

    @property
    def identity(self) -> dict[str, Any]:
        """What shapes the row of a model: the protocol, and under `disjoint` how many models a group has."""
        return {"protocol": self.protocol} | (
            {"num_shadows": self.group_size - 1} if self.protocol == "disjoint" else {}
        )


class Training(Options):
    """How one network is trained."""

    epochs: int = Field(default=30, ge=1, le=100_000)
    batch_size: int = Field(default=128, ge=1)
    optimizer: Literal["sgd", "adam"] = "sgd"
    learning_rate: float = Field(default=0.1, gt=0)
    momentum: float = Field(default=0.9, ge=0, lt=1)
    """Momentum of SGD; Adam does not use it."""
    weight_decay: float = Field(default=5e-4, ge=0)
    schedule: Literal["cosine", "step", "constant"] = "cosine"
    """Learning rate over the steps: cosine to zero, x `decay` at each milestone, or unchanged."""
    milestones: Milestones = ()
    """Epochs after which the step schedule multiplies the learning rate by `decay`."""
    decay: float = Field(default=0.1, gt=0, le=1)
    augment: Literal["none", "flip", "crop_flip"] = "none"
    """Random change of each training image: horizontal flip, or 4-pixel-padded crop and flip."""
    select: Literal["last", "best_dev"] = "last"
    """Which epoch's weights are kept: the last, or the one most accurate on the dev set (from the reserve)."""

    @model_validator(mode="after")
    def _milestones_belong_to_step(self) -> Training:
        if (self.schedule == "step") != bool(self.milestones):
            raise ValueError("schedule 'step' needs milestones = [epoch, ...], and no other schedule takes them")
        return self


class FineTuning(Options):
    """Training after pruning; what is not given is as in `training`."""

    epochs: int = Field(ge=1, le=100_000)
    batch_size: int | None = Field(default=None, ge=1)
    optimizer: Literal["sgd", "adam"] | None = None
    learning_rate: float | None = Field(default=None, gt=0)
    momentum: float | None = Field(default=None, ge=0, lt=1)
    weight_decay: float | None = Field(default=None, ge=0)
    schedule: Literal["cosine", "step", "constant"] | None = None
    milestones: Milestones | None = None
    decay: float | None = Field(default=None, gt=0, le=1)
    augment: Literal["none", "flip", "crop_flip"] | None = None
    select: Literal["last", "best_dev"] | None = None

    def over(self, training: Training, where: str = "finetune") -> Training:
        """`training` with what is given here put in its place; `where` names it in messages."""
        values = training.model_dump() | self.model_dump(exclude_none=True)
        if values["schedule"] != "step" and self.milestones is None:
            values["milestones"] = ()
        return validated(Training, values, where)


class Release(Options):
    """One published form of the bank's models."""

    name: Name = ""
    """Its name in findings and folders; default: pruner and sparsity."""
    pruner: Plugin | None = None
    """How weights are removed; none: the dense model, fine-tuned (the control)."""
    sparsity: Fraction = 0.0
    """Fraction of prunable weights that become zero."""
    finetune: FineTuning | None = None
    """Training after pruning, with the mask held."""

    @model_validator(mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("name") in (None, ""):
            return {**value, "name": cls._default_name(value)}
        return value

    @staticmethod
    def _default_name(value: Mapping[str, Any]) -> str:
        pruner, sparsity = value.get("pruner"), value.get("sparsity", 0)
        if not pruner:
            return "dense+finetune"
        try:
            plugin = pruner if isinstance(pruner, Plugin) else Plugin.model_validate(pruner)
        except ValidationError:
            return "unnamed"  # what is wrong with the pruner is said where the pruner itself is validated
        options = "".join(f"-{key}={value}" for key, value in sorted(plugin.options.items()))
        return re.sub(r"[^A-Za-z0-9._+=-]", "_", f"{plugin.name}-{sparsity}{options}"[:80])

    @model_validator(mode="after")
    def _does_something(self) -> Release:
        if self.pruner is None and self.finetune is None:
            raise ValueError("a release needs a pruner, finetune, or both ('dense' itself is always there)")
        if self.pruner is None and self.sparsity:
            raise ValueError(f"sparsity = {self.sparsity:g} needs a pruner, for example pruner = 'l1unstructured'")
        if self.pruner is not None and not self.sparsity:
            raise ValueError("a pruner needs sparsity above 0 (for the unpruned control, leave the pruner out)")
        return self


class Audit(Options):
    """The attacker: what it knows, what it does, what is reported."""

    attacks: tuple[Plugin, ...] = Field(
        default=tuple(
            Plugin(name=name) for name in ("loss", "confidence", "entropy", "modified_entropy", "lira", "rmia")
        ),
        min_length=1,
    )
    """The attacks, by name or {name, options}."""
    knowledge: tuple[str, ...] = Field(default=("matched",), min_length=1)
    """What the attacker's references went through: matched (the victim's own pipeline; alias adaptive), no-defense
    (the same pruning, undefended), dense (unpruned), or the name of any release (the attacker guessed wrong)."""
    fpr_levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=(0.1, 0.01, 0.001), min_length=1)
    """False-positive rates at which the true-positive rate is reported."""
    canary_guesses: tuple[Annotated[float, Field(gt=0, le=0.5)], ...] = Field(default=(0.5, 0.25, 0.1), min_length=1)
    """Fractions of the canaries that the one-run bound on epsilon guesses "in", and as many "out". Declared here,
    before any score is seen; the error probability is shared among them (Bonferroni)."""
    delta: float = Field(default=1e-5, ge=0, lt=1)
    """Of the (epsilon, delta) that bounds are about."""
    queries: int = Field(default=1, ge=1, le=1000)
    """Views of each sample that the models are asked about: the plain one, then crops and flips.
    More than one hurts unless the models were trained with that augmentation."""

    @field_validator("knowledge")
    @classmethod
    def _known(cls, knowledge: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys("matched" if name == "adaptive" else name for name in knowledge))

    @field_validator("attacks")
    @classmethod
    def _once(cls, attacks: tuple[Plugin, ...]) -> tuple[Plugin, ...]:
        return tuple({attack.label: attack for attack in attacks}.values())


class Study(Options):
    """A whole study."""

    name: Name
    """Names the run folder."""
    description: str = Field(default="", max_length=2000)
    """What the study is for, in a sentence; shown in the report."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every random draw comes from it."""
    data: Data = Data()
    membership: Membership = Membership()
    model: Plugin = Plugin(name="tinycnn")
    training: Training = Training()
    releases: tuple[Release, ...] = ()
    """Releases beside `dense`, which is always there."""
    audit: Audit = Audit()

    @field_validator("releases", mode="before")
    @classmethod
    def _one_release_per_sparsity(cls, releases: Any) -> Any:
        """`sparsity = [0.7, 0.9]` in one entry stands for two releases."""
        if not isinstance(releases, Sequence) or isinstance(releases, str):
            return releases
        expanded: list[Any] = []
        for release in releases:
            levels = release.get("sparsity") if isinstance(release, Mapping) else None
            if isinstance(levels, list | tuple):
                if not levels:
                    raise ValueError("a release got sparsity = [], expected at least one sparsity")
                if release.get("name"):
                    raise ValueError("a release with several sparsities takes no name of its own: leave it out")
                expanded += [{**release, "sparsity": level} for level in levels]
            else:
                expanded.append(release)
        return expanded

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        counts = Counter(["dense", *(release.name for release in self.releases)])
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"two releases are called '{twice[0]}': give one a name of its own")
        knowledges = ["matched", "no-defense", *counts]
        wrong = [name for name in self.audit.knowledge if name not in knowledges]
        if wrong:
            raise ValueError(
                f"audit.knowledge: got '{wrong[0]}'{nearest(wrong[0], knowledges)}, expected matched (alias adaptive), "
                f"no-defense, or a release: {', '.join(counts)}"
            )
        num_tasks = 2 * (1 + len(self.releases)) * self.membership.num_models
        if num_tasks > MAX_TASKS:
            releases = f"{1 + len(self.releases):,} releases"
            raise ValueError(
                f"{self.membership.num_models:,} models in {releases} make {num_tasks:,} tasks, "
                f"expected at most {MAX_TASKS:,}: split the study"
            )
        trainings = [self.training, *(self.training_of(release) for release in self.releases if release.finetune)]
        if any(training.select == "best_dev" for training in trainings) and not self.data.num_reserve:
            raise ValueError("select = 'best_dev' needs data.num_reserve above 0 (the dev set comes from the reserve)")
        return self

    def training_of(self, release: Release) -> Training:
        """The fine-tuning of a release, with what it leaves out filled in from `training`."""
        assert release.finetune is not None
        return release.finetune.over(self.training, f"finetune of release '{release.name}'")

    def warnings(self) -> list[str]:
        """Settings that are allowed and probably not meant."""
        found = []
        controls = [self.training_of(r) for r in self.releases if r.pruner is None and r.finetune]
        pruned = [r for r in self.releases if r.pruner is not None and r.finetune]
        alone = [release.name for release in pruned if self.training_of(release) not in controls]
        if alone:
            found.append(
                f"{', '.join(alone)}: no control with the same fine-tuning and no pruning; "
                "what pruning itself changes cannot be told apart from the extra epochs"
            )
        if self.audit.queries > 1 and self.training.augment == "none":
            found.append("audit.queries > 1 usually weakens attacks on models trained without augmentation")
        if self.training.optimizer == "adam" and "momentum" in self.training.model_fields_set:
            found.append("training.momentum has no effect with Adam")
        return found

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Study:
        """A study from a TOML or JSON file, with `a.b=value` overrides put in.

        Raises:
            UserError: the file cannot be read, is no TOML or JSON, or says something unknown.
        """
        path = Path(path)
        return cls.from_text(read_settings(path), str(path), path.suffix == ".json", overrides)

    @classmethod
    def from_text(cls, text: str, name: str, is_json: bool = False, overrides: Sequence[str] = ()) -> Study:
        """A study from the text of a TOML or JSON file called `name`."""
        values = parse_settings(text, name, is_json, overrides)
        try:
            return validated(cls, values, name)
        except RecursionError:
            raise UserError(f"{name}: nested too deeply for a study") from None
