"""Attacks that learn to tell members from non-members, on the answers of references.

The references' rows (model, sample) are pooled, members and non-members in equal numbers; victims' rows are
scored by what was learned. A victim's membership never trains what scores it:

- models are dealt into at most four folds. A classifier trained on the references outside a fold scores the victims
  of that fold. A victim that is not also a reference is scored by a classifier of all references allowed for it;
- a quarter of those references (at least one) is held out. Half of the samples, on the held-out models,
  select the epoch; the other half teach the threshold (`Scores.held_out`). A classifier without epochs to select leaves
  all of them to the threshold. Neither those rows nor the victims' fold trained the classifier, so a threshold costs no
  further training. With a single reference, a quarter of its samples selects the epoch, and there is no threshold.

Scores do not depend on the order of samples or models, because all draws follow the order of ids.
`classifier.py` has the networks, `posterior_classifiers.py` forests and logistic regressions.
"""

# V victims, K references, N samples, F features, n rows

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.attack_input import AttackInput, HeldOut, Scores
from pruneaudit.attacks.folds import settings
from pruneaudit.core.options import OptionsT
from pruneaudit.signals.derived import log_softmax
from pruneaudit.signals.signals import Signals

HELD_OUT_FRACTION = 0.25


@dataclass(frozen=True, eq=False)
class Rows:
    """Training rows of a classifier: some samples, each as answered by some models."""

    features: np.ndarray
    """(n, F) float32."""
    labels: np.ndarray
    """(n,) int: the samples' classes."""
    member: np.ndarray
    """(n,) bool."""
    num_classes: int
    model: np.ndarray
    """(n,) int: which model answered, numbered from 0 in the order in which the models were drawn."""

    def where(self, chosen: np.ndarray) -> Rows:
        """The rows where `chosen` (n,) is true."""
        return Rows(
            self.features[chosen], self.labels[chosen], self.member[chosen], self.num_classes, self.model[chosen]
        )


Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Features (n, F) float32 and labels (n,) in, log-odds of membership (n,) float64 out."""


class LearnedAttack(Attack[OptionsT]):
    """An attack whose score is what a classifier says of one model's signals."""

    needs = frozenset({"references"})
    trains = True

    @property
    def selects_epoch(self) -> bool:
        """Whether held-out rows select an epoch of the training."""
        return False

    @property
    def fixed_threshold(self) -> float | None:
        """The log-odds from which it calls a sample a member; None: held-out rows teach thresholds."""
        return None

    @abstractmethod
    def features(self, signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
        """The classifier's inputs: (n, F) float32 for `samples` (n,), from the answers of the model in row `model`."""

    def features_of(self, releases: Sequence[Signals], model: int, samples: np.ndarray) -> np.ndarray:
        """The inputs from all releases of the model, the attacked one last; by default that one's `features`."""
        return self.features(releases[-1], model, samples)

    @abstractmethod
    def trained(self, train: Rows, held_out: Rows, rng: np.random.Generator) -> Scorer:
        """A classifier of the rows `train`; `held_out` selects its epoch, if it selects one."""

    @abstractmethod
    def limit(self) -> int | None:
        """Most rows that a classifier learns from; None: all."""

    @abstractmethod
    def variant(self) -> str:
        """The settings in words."""

    def score(self, attack_input: AttackInput, rng: np.random.Generator) -> Scores:
        """Log-odds of membership, (V, N) float64; NaN for victims without a reference outside their fold."""
        seed = int(rng.integers(2**62))
        samples = drawn_over(attack_input.attacked)  # the order of everything drawn below
        scores = np.full(attack_input.eligible.shape, np.nan)
        held_out: list[HeldOut] = []
        for index, (victims, references) in enumerate(settings(attack_input, seed)):
            own = np.random.default_rng([seed, index])
            if self.fixed_threshold is None:
                scorer, kept = self._learned(attack_input, victims, references, samples, own)
            else:
                scorer, kept = self._learned_from_all(attack_input, references, samples, own), []
            if scorer is None:
                continue
            held_out += kept
            for victim in victims:
                wanted = samples[attack_input.eligible[victim, samples]]
                scores[victim, wanted] = self._scored(
                    scorer, attack_input.releases, attack_input.victims[victim], wanted
                )
        return Scores(scores, variant=self.variant(), held_out=tuple(held_out), threshold=self.fixed_threshold)

    def _learned_from_all(
        self, attack_input: AttackInput, references: np.ndarray, samples: np.ndarray, rng: np.random.Generator
    ) -> Scorer | None:
        """The victims' scorer for attacks with a fixed threshold, which hold out no rows."""
        train = self.rows(attack_input.references, references, samples, self.limit(), rng)
        nothing = train.where(np.zeros(len(train.member), dtype=bool))
        return self.trained(train, nothing, rng) if len(train.member) else None

    def _learned(
        self,
        attack_input: AttackInput,
        victims: np.ndarray,
        references: np.ndarray,
        samples: np.ndarray,
        rng: np.random.Generator,
    ) -> tuple[Scorer | None, list[HeldOut]]:
        """The victims' scorer, and the held-out scores from which their threshold may be learned."""
        seen, limit = attack_input.references, self.limit()
        mixed = rng.permutation(samples)
        if len(references) > 1:
            models = rng.permutation(references)
            num_held = max(1, int(len(models) * HELD_OUT_FRACTION))
            held, taught, shown = models[:num_held], models[num_held:], samples
            selecting, deciding = np.array_split(mixed, 2) if self.selects_epoch else (mixed[:0], mixed)
        else:
            num_held = int(len(samples) * HELD_OUT_FRACTION) if self.selects_epoch else 0
            held, taught, shown = references, references, mixed[num_held:]
            selecting, deciding = mixed[:num_held], mixed[:0]
        train = self.rows(seen, taught, shown, limit, rng)
        if not len(train.member):
            return None, []
        selection = self.rows(seen, held, selecting, limit and int(limit * HELD_OUT_FRACTION), rng)
        scorer = self.trained(train, selection, rng)
        if not len(deciding):
            return scorer, []
        scores = np.full((len(held), attack_input.attacked.num_samples), np.nan)
        for row, model in zip(scores, held, strict=True):
            wanted = deciding[attack_input.reference.ordinary[model, deciding]]
            row[wanted] = self._scored(scorer, seen, model, wanted)
        return scorer, [HeldOut(victims, held, scores)]

    def rows(
        self,
        releases: Sequence[Signals],
        models: np.ndarray,
        samples: np.ndarray,
        limit: int | None,
        rng: np.random.Generator,
    ) -> Rows:
        """Equally many members and non-members from the ordinary samples of some models, at most `limit` rows."""
        signals = releases[-1]
        ordinary, member = (array[np.ix_(models, samples)].ravel() for array in (signals.ordinary, signals.member))
        sides = [np.flatnonzero(ordinary & side) for side in (member, ~member)]
        num_each = min(len(side) for side in sides)
        num_each = num_each if limit is None else min(num_each, limit // 2)
        drawn = np.sort(np.concatenate([rng.choice(side, num_each, replace=False) for side in sides]))
        of_model, of_sample = np.divmod(drawn, len(samples))
        parts = [self.features_of(releases, model, samples[of_sample[of_model == k]]) for k, model in enumerate(models)]
        labels = signals.labels[samples[of_sample]]
        return Rows(np.concatenate(parts), labels, member[drawn], signals.num_classes, of_model)

    def _scored(self, scorer: Scorer, releases: Sequence[Signals], model: int, samples: np.ndarray) -> np.ndarray:
        if not len(samples):
            return np.empty(0)
        return scorer(self.features_of(releases, model, samples), releases[-1].labels[samples])


def drawn_over(signals: Signals) -> np.ndarray:
    """Samples in the order of their ids, for all draws.

    A holdout is left out if there are public samples: no classifier learns from it, so adding one to a study does
    not change its scores.
    """
    ordered = np.argsort(signals.sample_ids)
    beside = (signals.unseen & ~signals.untouched_holdout).any()
    return ordered[~signals.untouched_holdout[ordered]] if beside else ordered


def posteriors(signals: Signals, model: int, samples: np.ndarray) -> np.ndarray:
    """Class probabilities (n, C) of one model on some samples, float32: as given, or from a float64 softmax."""
    if signals.probabilities is not None:
        return signals.probabilities[model, samples].astype(np.float32)
    return np.exp(log_softmax(signals.logits_of(model, samples))).astype(np.float32)


def one_hot(signals: Signals, samples: np.ndarray) -> np.ndarray:
    """The samples' labels, (n, C) float32 of zeros and ones."""
    return np.eye(signals.num_classes, dtype=np.float32)[signals.labels[samples]]


def ordered_by_first(parts: Sequence[np.ndarray], descending: bool) -> np.ndarray:
    """Arrays side by side, each (n, C), all with their columns in the order of the first one's values.

    Args:
        parts: d arrays (n, C).
        descending: whether the largest value comes first.
    """
    order = np.argsort(-parts[0] if descending else parts[0], axis=1, kind="stable")
    return np.hstack([np.take_along_axis(part, order, axis=1) for part in parts])
