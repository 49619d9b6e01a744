"""The whole study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.core.registry import nearest
from pruneaudit.core.settings_file import parse_settings, read_settings, with_overrides
from pruneaudit.study.audit import MATCHED, UNDEFENDED, Audit
from pruneaudit.study.base import Base
from pruneaudit.study.choose import Choose
from pruneaudit.study.data import Data, Membership
from pruneaudit.study.degrees import one_release_per_degree, with_degrees_beside
from pruneaudit.study.families import FEWEST_MODELS, checked_families
from pruneaudit.study.former import FORMAT, check_format
from pruneaudit.study.plugins import Network, Plugin
from pruneaudit.study.releases import DENSE, INIT, Name, Release
from pruneaudit.study.target import Target
from pruneaudit.study.training import SHARED, FineTuning, Training

MAX_TASKS = 1_000_000


class Study(Options):
    """A whole study: data, networks, releases and attacks.

    Example:
        >>> study = pruneaudit.Study(name="mine", data={"source": "digits", "num_samples": 400}, model={"name": "mlp"})
        >>> pruneaudit.Study.load("study.toml").name
        'first'
    """

    name: Name
    """The name of the study and of its run folder."""
    description: str = Field(default="", max_length=2000)
    """The purpose of the study, in one sentence. The report shows it."""
    format: Literal[2] = FORMAT
    """The format of the file. `pruneaudit migrate` translates earlier formats."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """The seed of every random draw."""
    data: Data = Data()
    membership: Membership = Membership()
    model: Network = Plugin(name="tinycnn")
    """The network; `package.module:function` for your own, as in the model `factory`."""
    training: Training = Training()
    base: Base | None = None
    """A network that is trained once on the public samples; all models start from its weights."""
    target: Target | None = None
    """Your own trained model, as the only victim; all models of the bank are its references."""
    releases: tuple[Release, ...] = ()
    """Releases in addition to `dense`, which is always included."""
    audit: Audit = Audit()
    choose: Choose | None = None
    """The search of `pruneaudit choose`; other commands ignore it."""
    keep_weights: bool = True
    """false: at the end of the run, remove the weights of all but one model per release. Findings stay the same.
    Another release, other queries or an export must then train those models again."""

    @field_validator("releases", mode="before")
    @classmethod
    def _one_release_per_degree(cls, releases: Any) -> Any:
        """Expands `sparsity = [0.7, 0.9]` in one entry into two releases."""
        if not isinstance(releases, Sequence) or isinstance(releases, str):
            return releases
        return [one for release in releases for one in one_release_per_degree(release)]

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        self._settle_target()
        counts = Counter([DENSE, *(release.name for release in self.releases)])
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"two releases are named '{twice[0]}': give one another name")
        kinds_of_references = [MATCHED, UNDEFENDED, *counts]
        wrong = [name for name in self.audit.references if name not in kinds_of_references]
        alone = [release.name for release in self.releases if release.is_file_alone]
        if without := [name for name in self.audit.references if name in alone]:
            raise ValueError(
                f"audit.references: got '{without[0]}', but no reference is made like that release; give the release "
                f"its recipe (compress, finetune), or leave it out"
            )
        if wrong:
            raise ValueError(
                f"audit.references: got '{wrong[0]}'{nearest(wrong[0], kinds_of_references)}, expected matched (alias"
                f" adaptive), undefended, or a release: {', '.join(counts)}"
            )
        self._check_families()
        self._check_parents()
        self._check_base()
        num_tasks = 2 * (1 + len(self.releases)) * self.membership.num_models
        if num_tasks > MAX_TASKS:
            releases = f"{1 + len(self.releases):,} releases"
            raise ValueError(
                f"{self.membership.num_models:,} models in {releases} make {num_tasks:,} tasks, "
                f"expected at most {MAX_TASKS:,}: split the study"
            )
        has_dev_set = self.data.num_public or self.data.num_holdout or self.has_open_holdout
        if any(training.select == "best_dev" for training in self._trainings()) and not has_dev_set:
            raise ValueError("select = 'best_dev' needs data.num_public above 0 (the public samples are the dev set)")
        return self

    def _settle_target(self) -> None:
        """Derives the bank's membership from the target, and refuses settings that contradict it."""
        target, given = self.target, self.membership
        if target is None:
            if given.protocol == "target":
                raise ValueError(
                    "membership.protocol: got 'target' without a target; add [target] with weights, member"
                )
            with_file = next((release.name for release in self.releases if release.weights), None)
            if with_file:
                raise ValueError(f"release '{with_file}': got weights without a target; add [target], or leave it out")
            return
        bank = Membership(protocol="target", num_models=1 + target.num_references)
        named = given.model_fields_set if "membership" in self.model_fields_set else ()
        for name in sorted(named):
            if getattr(given, name) != getattr(bank, name):
                raise ValueError(
                    f"membership.{name}: got {getattr(given, name)!r} together with num_references ="
                    f" {target.num_references} of a target, expected {getattr(bank, name)!r}; leave it out, and set"
                    " target.num_references"
                )
        if num := self.data.num_canaries:
            raise ValueError(
                f"data.num_canaries: got {num} together with a target, but the target is trained already; leave it "
                f"out, or set"
                " target.canaries to the file of canaries that the target was trained with"
            )
        if self.training.keep_early is not None:
            raise ValueError(
                f"training.keep_early: got {self.training.keep_early:g} together with a target, but the target's "
                f"early weights are unknown; leave it out: iterative:rewind=early then trains early weights for all "
                f"models alike"
            )
        if self.training.init == SHARED:
            raise ValueError(
                f"training.init: got '{SHARED}' together with a target, but the target did not start from a draw of "
                f"this study; set it"
                " to the file of the weights that the target started from, or leave it out"
            )
        if noise := self.data.label_noise:
            raise ValueError(
                f"data.label_noise: got {noise} together with a target, but the target was trained "
                f"without label noise; leave it out"
            )
        object.__setattr__(self, "membership", bank)

    @model_serializer(mode="wrap")
    def _as_given(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leaves out what follows from the target, and target, base and search if there is none."""
        values: dict[str, Any] = handler(self)
        values.pop("target" if self.target is None else "membership", None)
        for name in ("base", "choose"):
            if getattr(self, name) is None:
                values.pop(name, None)
        return values

    @property
    def has_open_holdout(self) -> bool:
        """Whether the holdout's size depends on the number of the target's non-members, known from the data only."""
        return self.target is not None and "num_holdout" not in self.data.model_fields_set

    @property
    def has_canaries(self) -> bool:
        """Whether there are canaries: planted by the study, or by the owner of the target."""
        return bool(self.data.num_canaries or (self.target and self.target.canaries))

    @property
    def named_families(self) -> tuple[tuple[str, ...], ...]:
        """The families of `audit.families` by names."""
        return self.families_by_name(self.audit.families, "audit.families")

    def families_by_name(self, given: Iterable[Sequence[str]] | str, where: str) -> tuple[tuple[str, ...], ...]:
        """Returns families by names, with their releases in the order of the study.

        Args:
            given: families, or "all": one family of all releases that the study lists.
            where: the setting or argument, for messages.

        Raises:
            UserError: a release does not exist, no reference is made like it, or a family has one release.
        """
        alone = [release.name for release in self.releases if release.is_file_alone]
        return checked_families(given, [DENSE, *(release.name for release in self.releases)], where, alone)

    def with_named_families(self) -> Study:
        """Returns the study with families by name: "all" means the releases listed here, none added later."""
        return self.model_copy(update={"audit": self.audit.model_copy(update={"families": self.named_families})})

    def _check_families(self) -> None:
        """Checks that the releases of families exist, and that there are references to compare them with."""
        if not self.named_families:
            return
        if self.membership.protocol == "disjoint":
            raise ValueError(
                "audit.families: got families under protocol 'disjoint', but attacks on families need references that "
                "were trained on the victims' samples; use membership.protocol = 'pooled', or leave the families out"
            )
        if self.membership.num_models < FEWEST_MODELS:
            number = self.membership.num_models
            setting, got, fewest = "membership.num_models", number, FEWEST_MODELS
            if self.target:
                setting, got, fewest = "target.num_references", number - 1, FEWEST_MODELS - 1
            raise ValueError(
                f"audit.families: got families with {setting} = {got}, expected {fewest} or more; set it, or leave the"
                " families out"
            )

    def _check_parents(self) -> None:
        """Checks that every parent comes before its releases, and has models for the references."""
        known = [DENSE, INIT]
        given = {release.name for release in self.releases if release.weights}
        for release in self.releases:
            if release.parent in given:
                raise ValueError(
                    f"release '{release.name}': got parent = '{release.parent}', but that release is your file; "
                    f"start from its parent instead, and repeat its compress and finetune here"
                )
            if release.parent not in known:
                raise ValueError(
                    f"release '{release.name}': got parent = '{release.parent}'{nearest(release.parent, known)}, "
                    f"expected dense, init, or a release before it: {', '.join(known)}"
                )
            if not release.weights:
                known.append(release.name)

    def _check_base(self) -> None:
        """Checks that the base has samples to learn from, and settings that go with it."""
        if self.base is None:
            return
        if not self.data.num_public:
            raise ValueError("base: got a base without public samples to train it on; set data.num_public above 0")
        if self.target is not None:
            raise ValueError(
                "base: got a base together with a target, but the target did not start from it; set training.init to "
                "the file of the"
                " weights that the target started from, or leave the base out"
            )
        if self.training.init == SHARED:
            raise ValueError(
                f"training.init: got '{SHARED}' together with a base, but all models start from the base; leave it out"
            )
        self.base.training(self.training)

    def training_of(self, release: Release) -> Training:
        """Returns the fine-tuning of a release; settings that it omits come from `training`."""
        assert release.finetune is not None
        where = f"finetune of release '{release.name}'"
        starts_alike = release.parent == INIT and release.model in (None, self.model)
        return release.finetune.over(self.training, where, starts_alike)

    def _trainings(self) -> list[Training]:
        """Returns the training of the dense networks, and each fine-tuning."""
        return [self.training, *(self.training_of(release) for release in self.releases if release.finetune)]

    def warnings(self) -> list[str]:
        """Returns warnings about settings that are allowed but probably not intended."""
        found = []
        if UNDEFENDED in self.audit.references and not any(release.defense for release in self.releases):
            found.append("references 'undefended' is the same as 'matched' here: no release has a defense")
        if self.audit.queries > 1 and self.training.augment == "none":
            found.append("audit.queries > 1 usually weakens attacks on models trained without augmentation")
        if self.base and any(training.select == "best_dev" for training in self._trainings()):
            found.append("select = 'best_dev' chooses epochs on the public samples, but the base was trained on these")
        if self.training.optimizer == "adam" and self.training.momentum != Training.model_fields["momentum"].default:
            found.append("training.momentum has no effect with Adam")
        if self.training.function and (idle := self._idle_settings()):
            settings = ", ".join(f"training.{name}" for name in idle)
            found.append(f"no effect: {settings}; {self.training.function} does the training")
        return found

    def _idle_settings(self) -> list[str]:
        """Returns changed settings of the loop without effect: a function trains, and no fine-tuning inherits them."""
        finetunes = [release.finetune for release in self.releases if release.finetune]
        plain = Training()
        changed = [n for n in FineTuning.model_fields if getattr(self.training, n) != getattr(plain, n)]
        return [name for name in changed if all(getattr(finetune, name) is not None for finetune in finetunes)]

    def changed(self, overrides: Sequence[str], where: str) -> Study:
        """Returns the study with `a.b=value` overrides applied; `where` names it in messages.

        Raises:
            UserError: an override names no setting, or makes the study invalid.
        """
        if not overrides:
            return self
        values = self.model_dump(mode="json", exclude_unset=True)
        if "releases" in values:
            values["releases"] = [with_degrees_beside(release) for release in values["releases"]]
        return validated(Study, with_overrides(values, overrides), where)

    @classmethod
    def load(cls, path: str | Path, overrides: Sequence[str] = ()) -> Study:
        """Loads a study from a TOML or JSON file, with `a.b=value` overrides applied.

        Raises:
            UserError: the file cannot be read, is not valid TOML or JSON, or has an unknown or invalid setting.
        """
        path = Path(path)
        return cls.from_text(read_settings(path), str(path), path.suffix == ".json", overrides)

    @classmethod
    def from_text(cls, text: str, name: str, is_json: bool = False, overrides: Sequence[str] = ()) -> Study:
        """Loads a study from the text of a TOML or JSON file called `name`."""
        values = parse_settings(text, name, is_json, overrides)
        check_format(values, name)
        try:
            return validated(cls, values, name)
        except RecursionError:
            raise UserError(f"{name}: nested too deeply for a study") from None
