"""The attacker: what it knows, what it does, what is reported."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, field_validator

from pruneaudit.core.options import Options
from pruneaudit.study.plugins import Plugin

DEFAULT_ATTACKS = ("loss", "confidence", "entropy", "modified_entropy", "lira", "rmia")
"""What is played where nobody says which attacks."""
DEFAULT_LEVELS = (0.1, 0.01, 0.001)
"""False-positive rates at which true-positive rates are reported where nobody says which."""
MATCHED = "matched"
"""The references that went through what the victim went through."""
UNDEFENDED = "undefended"
"""The references that are of a release's undefended counterpart; without a defence it is `matched`."""


class Audit(Options):
    """The attacker: what it knows, what it does, what is reported."""

    attacks: tuple[Plugin, ...] = Field(
        default=tuple(Plugin(name=name) for name in DEFAULT_ATTACKS),
        min_length=1,
    )
    """The attacks, by name or {name, options}."""
    references: tuple[str, ...] = Field(default=(MATCHED,), min_length=1)
    """What the attacker's references went through: matched (the victim's own pipeline; alias adaptive), undefended
    (the same pruning, undefended), dense (unpruned), or the name of any release (the attacker guessed wrong)."""
    fpr_levels: tuple[Annotated[float, Field(gt=0, lt=1)], ...] = Field(default=DEFAULT_LEVELS, min_length=1)
    """False-positive rates at which the true-positive rate is reported."""
    canary_guesses: tuple[Annotated[float, Field(gt=0, le=0.5)], ...] = Field(default=(0.5, 0.25, 0.1), min_length=1)
    """Fractions of the canaries that the one-run bound on epsilon guesses "in", and as many "out". Declared here,
    before any score is seen; the error probability is shared among them (Bonferroni)."""
    delta: float = Field(default=1e-5, ge=0, lt=1)
    """Of the (epsilon, delta) that bounds are about."""
    queries: int = Field(default=1, ge=1, le=1000)
    """Views of each sample that the models are asked about: the plain one, then crops and flips.
    More than one hurts unless the models were trained with that augmentation."""

    @field_validator("references")
    @classmethod
    def _known(cls, references: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(MATCHED if name == "adaptive" else name for name in references))

    @field_validator("attacks")
    @classmethod
    def _once(cls, attacks: tuple[Plugin, ...]) -> tuple[Plugin, ...]:
        return tuple({attack.label: attack for attack in attacks}.values())
