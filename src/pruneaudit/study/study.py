"""The whole study."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options, validated
from pruneaudit.core.registry import nearest
from pruneaudit.core.settings_file import parse_settings, read_settings, with_overrides
from pruneaudit.study.audit import MATCHED, UNDEFENDED, Audit
from pruneaudit.study.data import Data, Membership
from pruneaudit.study.former import FORMAT, check_format
from pruneaudit.study.plugins import Network, Plugin
from pruneaudit.study.releases import DENSE, INIT, Name, Release, one_release_per_degree, with_degrees_beside
from pruneaudit.study.training import FineTuning, Training

MAX_TASKS = 1_000_000


class Study(Options):
    """A whole study.

    Example:
        >>> study = pruneaudit.Study(name="mine", data={"source": "digits", "num_samples": 400}, model={"name": "mlp"})
        >>> pruneaudit.Study.load("study.toml").name
        'first'
    """

    name: Name
    """Names the run folder."""
    description: str = Field(default="", max_length=2000)
    """What the study is for, in a sentence; shown in the report."""
    format: Literal[2] = FORMAT
    """Of the file. An earlier one is translated by `pruneaudit migrate`."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Every random draw comes from it."""
    data: Data = Data()
    membership: Membership = Membership()
    model: Network = Plugin(name="tinycnn")
    """The network; `package.module:function` is one of your own, as the model `factory` takes it."""
    training: Training = Training()
    releases: tuple[Release, ...] = ()
    """Releases beside `dense`, which is always there."""
    audit: Audit = Audit()
    keep_weights: bool = True
    """false: weights go at the end of the run, but for one model of each release. Findings are the same. Whatever needs
    them later (a further release, other queries, an export) has to train those models again."""

    @field_validator("releases", mode="before")
    @classmethod
    def _one_release_per_degree(cls, releases: Any) -> Any:
        """`sparsity = [0.7, 0.9]` in one entry stands for two releases."""
        if not isinstance(releases, Sequence) or isinstance(releases, str):
            return releases
        return [one for release in releases for one in one_release_per_degree(release)]

    @model_validator(mode="after")
    def _consistent(self) -> Study:
        counts = Counter([DENSE, *(release.name for release in self.releases)])
        twice = sorted(name for name, count in counts.items() if count > 1)
        if twice:
            raise ValueError(f"two releases are called '{twice[0]}': give one a name of its own")
        kinds_of_references = [MATCHED, UNDEFENDED, *counts]
        wrong = [name for name in self.audit.references if name not in kinds_of_references]
        if wrong:
            raise ValueError(
                f"audit.references: got '{wrong[0]}'{nearest(wrong[0], kinds_of_references)}, expected matched (alias"
                f" adaptive), undefended, or a release: {', '.join(counts)}"
            )
        self._check_parents()
        num_tasks = 2 * (1 + len(self.releases)) * self.membership.num_models
        if num_tasks > MAX_TASKS:
            releases = f"{1 + len(self.releases):,} releases"
            raise ValueError(
                f"{self.membership.num_models:,} models in {releases} make {num_tasks:,} tasks, "
                f"expected at most {MAX_TASKS:,}: split the study"
            )
        trainings = [self.training, *(self.training_of(release) for release in self.releases if release.finetune)]
        has_dev_set = self.data.num_public or self.data.num_holdout
        if any(training.select == "best_dev" for training in trainings) and not has_dev_set:
            raise ValueError("select = 'best_dev' needs data.num_public above 0 (the dev set is the public part)")
        return self

    def _check_parents(self) -> None:
        """A parent stands before its release."""
        known = [DENSE, INIT]
        for release in self.releases:
            if release.parent not in known:
                raise ValueError(
                    f"release '{release.name}': got parent = '{release.parent}'{nearest(release.parent, known)}, "
                    f"expected dense, init, or a release before it: {', '.join(known)}"
                )
            known.append(release.name)

    def training_of(self, release: Release) -> Training:
        """The fine-tuning of a release, with what it leaves out filled in from `training`."""
        assert release.finetune is not None
        return release.finetune.over(self.training, f"finetune of release '{release.name}'")

    def warnings(self) -> list[str]:
        """Settings that are allowed and probably not meant."""
        found = []
        if UNDEFENDED in self.audit.references and not any(release.defense for release in self.releases):
            found.append("references 'undefended' is the same as 'matched' here: no release has a defense")
        if self.audit.queries > 1 and self.training.augment == "none":
            found.append("audit.queries > 1 usually weakens attacks on models trained without augmentation")
        if self.training.optimizer == "adam" and self.training.momentum != Training.model_fields["momentum"].default:
            found.append("training.momentum has no effect with Adam")
        if self.training.function and (idle := self._idle_settings()):
            settings = ", ".join(f"training.{name}" for name in idle)
            found.append(f"no effect here: {settings}; {self.training.function} does the training")
        return found

    def _idle_settings(self) -> list[str]:
        """Settings of the loop that were changed, where a function trains and no fine-tuning takes them over."""
        finetunes = [release.finetune for release in self.releases if release.finetune]
        plain = Training()
        changed = [n for n in FineTuning.model_fields if getattr(self.training, n) != getattr(plain, n)]
        return [name for name in changed if all(getattr(finetune, name) is not None for finetune in finetunes)]

    def changed(self, overrides: Sequence[str], where: str) -> Study:
        """The study with `a.b=value` overrides put in; `where` names it in messages.

        Raises:
            UserError: an override leads nowhere, or to a study that is wrong.
        """
        if not overrides:
            return self
        values = self.model_dump(mode="json", exclude_unset=True)
        if "releases" in values:
            values["releases"] = [with_degrees_beside(release) for release in values["releases"]]
        return validated(Study, with_overrides(values, overrides), where)

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
        check_format(values, name)
        try:
            return validated(cls, values, name)
        except RecursionError:
            raise UserError(f"{name}: nested too deeply for a study") from None
