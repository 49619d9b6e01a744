"""Which samples a study draws on, and who is in whose training set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pruneaudit.core.options import Options
from pruneaudit.study.plugins import Source

DEFAULT_SHADOWS = 5
FORMER_KEY = "num_reserve"
"""What stood for the holdout and the public part together; `study/migration.py` translates it."""
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Data(Options):
    """Which samples the study draws on."""

    source: Source = Source(name="fashion_mnist_5k")
    """Where samples come from: the name of a source, `npz:FILE`, or {name, options}."""
    num_samples: int | None = Field(default=None, ge=4)
    """Different samples that are members or non-members and are audited; default: all that the other parts leave.
    Copies of them (equal x) are in the same training sets, and not counted."""
    num_holdout: int = Field(default=0, ge=0)
    """Samples that no model ever sees and that are never audited. Nulls are made of them: RMIA's z, attack_p. Attacks
    that need them need 200."""
    num_public: int = Field(default=0, ge=0)
    """Samples that shape models or methods and are members of none: dev set, `adv`, calibration. With 0, holdout
    samples do that, and those that did no longer serve any null of that release."""
    drawn_first: Literal["holdout", "public"] = "holdout"
    """Which of the two parts is drawn first. Adding the other one later changes no sample of the first, and no
    network."""
    num_canaries: int = Field(default=0, ge=0)
    """Further samples that get a wrong label, to be memorised: each is in a training set with probability 1/2. They
    show the worst case, have findings of their own, and allow lower bounds on epsilon."""
    label_noise: Fraction = 0.0
    """Fraction of audited samples whose label is replaced by another class, once for the audit data."""

    @model_validator(mode="before")
    @classmethod
    def _no_former_key(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and FORMER_KEY in values:
            raise ValueError(
                f"got {FORMER_KEY} = {values[FORMER_KEY]!r}, which is two settings now: num_holdout (nulls: RMIA's z,"
                " attack_p) and num_public (what shapes models: dev set, adv, calibration); translate a study file with"
                " pruneaudit migrate STUDY.toml"
            )
        return values


class Membership(Options):
    """Who is in whose training set."""

    protocol: Literal["pooled", "disjoint"] = "pooled"
    """pooled: each sample is in each model's training set with probability 1/2, independently; every model is a victim
    and the others are its references. disjoint: groups of one victim and its shadows, which draw their members from
    two halves of the audit data that do not meet."""
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
