"""The attacker's settings: the references, the attacks, and the metrics to report."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pruneaudit.core.options import Options
from pruneaudit.study.families import as_families
from pruneaudit.study.outputs import Outputs
from pruneaudit.study.plugins import Plugin

DEFAULT_ATTACKS = ("loss", "confidence", "entropy", "modified_entropy", "lira", "rmia")
"""The attacks of a study that names none."""
DEFAULT_LEVELS = (0.1, 0.01, 0.001)
"""Default false-positive rates at which the true-positive rate is reported."""
MATCHED = "matched"
"""References made in the same way as the victim."""
UNDEFENDED = "undefended"
"""References from the undefended counterpart of a release; the same as `matched` without a defence."""


class Audit(Options):
    """The attacker's settings: the references, the attacks, and the metrics to report."""

    attacks: tuple[Plugin, ...] = Field(
        default=tuple(Plugin(name=name) for name in DEFAULT_ATTACKS),
        min_length=1,
    )
    """The attacks, by name or {name, options}."""
    references: tuple[str, ...] = Field(default=(MATCHED,), min_length=1)
    """How the attacker's references are made: matched (like the victim; alias adaptive), undefended (the same
    compression without the defence), dense (uncompressed), or the name of any release (an attacker with a wrong
    guess)."""
    fpr_levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=DEFAULT_LEVELS, min_length=1)
    """False-positive rates at which the true-positive rate is reported."""
    canary_guesses: tuple[Annotated[float, Field(gt=0, le=0.5)], ...] = Field(default=(0.5, 0.25, 0.1), min_length=1)
    """Fractions of the canaries that the one-run bound on epsilon guesses "in"; it guesses as many "out". They must be
    fixed before any score is seen."""
    epsilon_thresholds: Literal["bonferroni", "split"] = "bonferroni"
    """How the one-run bounds choose among these fractions. bonferroni: guess as many "in" as "out", and divide the
    error probability by the number of fractions. split: one half of the canaries chooses among all pairs of fractions,
    the other half gives the bound."""
    delta: float = Field(default=1e-5, ge=0, lt=1)
    """The delta of the (epsilon, delta) bounds."""
    queries: int = Field(default=1, ge=1, le=1000)
    """Number of queries per sample: first the sample itself, then crops and flips of an image, or a text with some
    tokens replaced by the unknown token. More than one query weakens the attacks, unless the models were trained with
    that augmentation."""

    outputs: tuple[str, ...] = ()
    """The outputs that the attacker sees: logits, probabilities, round:DECIMALS, top:CLASSES, label, or label:queries
    (the labels of all `queries`). The attacks are repeated for each kind, and the table `outputs` compares them.
    Default: only the outputs that are stored."""

    families: tuple[tuple[str, ...], ...] | Literal["all"] = ()
    """Sets of releases that are attacked together, such as [["dense", "int8"]], or "all": one family of all releases
    that the study lists. The tables `families` and `marginal_leakage` show the leakage of the whole set, and how much
    each release adds. Trains nothing."""

    @field_validator("families", mode="before")
    @classmethod
    def _listed(cls, families: Any) -> Any:
        return as_families(families)

    @field_validator("references")
    @classmethod
    def _known(cls, references: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(MATCHED if name == "adaptive" else name for name in references))

    @field_validator("outputs")
    @classmethod
    def _parsed(cls, outputs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(Outputs.parse(name).name for name in outputs))

    @model_validator(mode="after")
    def _queried(self) -> Audit:
        if "label:queries" in self.outputs and self.queries == 1:
            raise ValueError(
                "audit.outputs: got 'label:queries' with audit.queries = 1, expected several queries; set audit.queries"
                " = 8, or use label"
            )
        return self

    @field_validator("attacks")
    @classmethod
    def _once(cls, attacks: tuple[Plugin, ...]) -> tuple[Plugin, ...]:
        return tuple({attack.label: attack for attack in attacks}.values())
