"""The samples that a study uses, and which of them are in which training set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pruneaudit.core.options import Options
from pruneaudit.study.plugins import Source

DEFAULT_SHADOWS = 5
MIN_MODELS = 2
FORMER_KEY = "num_reserve"
"""The former setting for holdout and public part together; `study/migration.py` translates it."""
Fraction = Annotated[float, Field(ge=0, lt=1)]


class Data(Options):
    """The samples that the study uses."""

    source: Source = Source(name="fashion_mnist_5k")
    """The source of the samples: its name, `npz:FILE`, or {name, options}."""
    num_samples: int | None = Field(default=None, ge=4)
    """Number of distinct samples to audit (members and non-members); default: all samples that the other parts leave;
    with a target, the largest equal number of members and non-members. Copies of a sample (equal x) are in the same
    training sets, and are not counted."""
    num_holdout: int = Field(default=0, ge=0)
    """Number of samples that no model is trained on and that are never audited. They are split in halves: attacks fit
    on one half, and take nulls (RMIA's z, attack_p) from the other. An attack that uses a half needs 200 samples in it;
    500 samples in total are enough. With a target, the default is a third of its non-members."""
    num_public: int = Field(default=0, ge=0)
    """Number of samples that influence models or methods but are in no training set: dev set, `adv`, calibration. With
    0, such methods use holdout samples instead; these are then excluded from the nulls of the release."""
    drawn_first: Literal["holdout", "public"] = "holdout"
    """The part to draw first. Adding the other part later changes neither the samples of the first nor any
    network."""
    num_canaries: int = Field(default=0, ge=0)
    """Number of extra samples with a wrong label, which models memorise. Each is in a training set with probability
    1/2. They show the worst case, are reported separately, and give lower bounds on epsilon."""
    label_noise: Fraction = 0.0
    """Fraction of audited samples whose label is replaced by another class, once for the whole study."""

    @property
    def draws_public_first(self) -> bool:
        """Whether the public part is drawn before the holdout."""
        return bool(self.num_public) and self.drawn_first == "public"

    @model_validator(mode="before")
    @classmethod
    def _no_former_key(cls, values: Any) -> Any:
        if isinstance(values, Mapping) and FORMER_KEY in values:
            raise ValueError(
                f"got {FORMER_KEY} = {values[FORMER_KEY]!r}, but this is now two settings: num_holdout (nulls: RMIA's "
                f"z, attack_p) and num_public (dev set, adv, calibration); translate the study file with: pruneaudit "
                f"migrate STUDY.toml"
            )
        return values


class Membership(Options):
    """Which samples are in which training set."""

    protocol: Literal["pooled", "disjoint", "target"] = "pooled"
    """pooled: each sample is in each model's training set with probability 1/2, independently; every model is a victim,
    and the other models are its references. disjoint: groups of one victim and its shadows; the victim draws its
    members from one half of the audit data, the shadows from the other. target: set by `[target]`; the target is the
    only victim."""
    num_models: int = Field(default=16, ge=1, le=10_000)
    """Number of models in the bank, victims and shadows together."""
    num_shadows: int | None = Field(default=None, ge=1)
    """disjoint: number of shadows per victim; default 5."""

    @model_validator(mode="after")
    def _whole_groups(self) -> Membership:
        if self.protocol != "disjoint" and self.num_shadows is not None:
            raise ValueError(
                f"num_shadows goes with protocol = 'disjoint'; under '{self.protocol}' all models are references"
            )
        if self.protocol != "target" and self.num_models < MIN_MODELS:
            raise ValueError(f"num_models = {self.num_models}, expected at least {MIN_MODELS}")
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
        """The number of models in a group: a victim and its shadows; under `pooled` and `target` all models."""
        if self.protocol != "disjoint":
            return self.num_models
        return 1 + (DEFAULT_SHADOWS if self.num_shadows is None else self.num_shadows)

    def group_of(self, model_id: int) -> int:
        """Returns the group of a model."""
        return model_id // self.group_size

    def is_victim(self, model_id: int) -> bool:
        """Returns whether a model is attacked; under `disjoint` and `target` only the first of each group is."""
        return self.protocol == "pooled" or model_id % self.group_size == 0

    @property
    def identity(self) -> dict[str, Any]:
        """The settings that determine a model's members: the protocol, and under `disjoint` the size of a group."""
        return {"protocol": self.protocol} | (
            {"num_shadows": self.group_size - 1} if self.protocol == "disjoint" else {}
        )


def num_given(asked: int | None, there: int) -> int:
    """Returns how many samples of a part a method gets: as many as it asks for, at most half; None asks for all."""
    return there if asked is None else min(asked, there // 2)
