"""What every attack has in common."""

# V victims, K references, N samples, C classes

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal, cast

import numpy as np

from pruneaudit.attacks.attack_input import AttackInput, Scores
from pruneaudit.core.options import Configured, Options, OptionsT
from pruneaudit.signals.signals import Signals
from pruneaudit.study.parts import MIN_HOLDOUT


class Attack(Configured[OptionsT], ABC):
    """One way of telling members from non-members; the module says idea, formula and paper.

    Example:
        >>> sorted(pruneaudit.ATTACKS.get("lira").needs)
        ['references']
    """

    semantics_version: ClassVar[int] = 1
    """Raised when the same options would give other scores."""
    trains: ClassVar[bool] = False
    """Whether it trains a classifier of its own, which takes minutes rather than seconds."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What it cannot do without: `references`, `holdout`, `sensitivity`, `two releases`."""
    is_lower_bound: ClassVar[bool] = False
    """Whether it finds less than what it sees gives away, by design: it is never shown as the strongest attack."""
    from_classes: ClassVar[bool] = False
    """Whether predicted classes alone are enough; others need logits or probabilities."""
    standard: ClassVar[str] = "loss"
    """The attack that it is compared with in paired comparisons."""

    def __init__(self, options: OptionsT | None = None) -> None:
        self.options = cast(OptionsT, self.Options()) if options is None else options
        self.device = "cpu"
        """Where classifiers learn and answer: `cpu`, `cuda` or `cuda:N`; others do not look at it."""

    def lacks(self, attack_input: AttackInput) -> str:
        """What this attack needs and the attack input does not have, in words; empty when nothing is lacking."""
        if not self.from_classes and any(
            part.predicted is not None for part in (*attack_input.releases, *attack_input.references)
        ):
            return "logits or probabilities (predicted classes alone are enough for `correctness`)"
        if "references" in self.needs and not (attack_input.allowed.size and attack_input.allowed.any(axis=1).all()):
            return "reference models for every victim"
        if self.compares_in and not _have_in_references(attack_input):
            return (
                "references that were trained on samples of the victims (under protocol 'disjoint' there are none:"
                " use mode=offline where the attack has it)"
            )
        if "two releases" in self.needs and len(attack_input.releases) < 2:
            return "a second release of the victims beside the attacked one (`paired` signals)"
        if {"two releases", "references"} <= self.needs and len(attack_input.references) != len(attack_input.releases):
            return "references in as many releases as the victims"
        if "holdout" in self.needs and (num_nulls := int(attack_input.nulls.sum())) < MIN_HOLDOUT:
            return (
                f"at least {MIN_HOLDOUT} holdout samples (eligible for no model, members of none, and without a part in"
                f" how the models came to be), got {num_nulls}"
            )
        if "sensitivity" in self.needs and any(
            part.sensitivity is None for part in (attack_input.attacked, attack_input.reference)
        ):
            return (
                "sensitivity signals of victims and references (key `sensitivity`, see pruneaudit.signals.sensitivity)"
            )
        return ""

    @property
    def compares_in(self) -> bool:
        """Whether it needs references that were trained on samples of the victim (IN references)."""
        return False

    @property
    def per_class(self) -> bool:
        """Whether its threshold is learned class by class."""
        return getattr(self.options, "thresholds", "global") == "per_class"

    @abstractmethod
    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """One score per (victim, sample), from everything in the attack input but the victims' membership."""


def _have_in_references(attack_input: AttackInput) -> bool:
    """Whether every victim has an allowed reference that was trained on one of its samples."""
    member = (
        attack_input.reference.member
        if attack_input.references
        else np.zeros((0, attack_input.attacked.num_samples), dtype=bool)
    )
    return all(
        any((member[row] & eligible).any() for row in np.flatnonzero(allowed))
        for allowed, eligible in zip(attack_input.allowed, attack_input.eligible, strict=True)
    )


class ThresholdOptions(Options):
    """Settings of attacks on one model's prediction."""

    thresholds: Literal["global", "per_class"] = "global"
    """One decision threshold for all classes, or one for each; scores and AUC do not depend on it."""


class PredictionAttack(Attack[ThresholdOptions]):
    """An attack whose score is a function of one model's prediction alone."""

    @abstractmethod
    def of_predictions(self, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Scores (N,) float64 from the logits (N, C) of one model and the labels (N,)."""

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Scores victims and references alike, model by model; a model that is both, once."""
        attacked = attack_input.attacked
        if not attack_input.references:
            victims, references = self._of_models(attacked, attack_input.victims), None
        elif attack_input.reference is attacked:
            references = self._of_models(attacked, np.arange(attacked.num_models))
            victims = references[attack_input.victims]
        else:
            references = self._of_models(attack_input.reference, np.arange(attack_input.reference.num_models))
            victims = self._of_models(attacked, attack_input.victims)
        victims[~attack_input.eligible] = np.nan
        return Scores(victims, references)

    def _of_models(self, signals: Signals, rows: np.ndarray) -> np.ndarray:
        """Scores (M, N) of some of the models."""
        return np.stack([self.of_model(signals, row) for row in rows])

    def of_model(self, signals: Signals, row: int) -> np.ndarray:
        """Scores (N,) float64 of one model; of probabilities `of_predictions` sees their logarithms."""
        return self.of_predictions(signals.logits_of(row), signals.labels)
