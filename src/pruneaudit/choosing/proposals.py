"""Proposes candidates of the space to try: the whole grid, a random part of it, or proposals of Optuna.

Optuna is asked for a batch of candidates and told the figures of all of them together, in the order of their numbers.
Its draws are seeded. So its proposals depend on the study and on the figures of the first rung, not on the order in
which trials end, and a search that continues after a kill proposes the same. Nothing of Optuna is stored.

Optuna minimises two figures: the cost, and the number of standard errors by which the tightest limit is missed. A
candidate that was not attacked, or that failed, counts as worse than all others in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import scipy

from pruneaudit.core import seeds
from pruneaudit.core.errors import UserError
from pruneaudit.core.randomness import numpy_generator, seed_for
from pruneaudit.evaluation.certificate import Candidate as Measured
from pruneaudit.evaluation.limits import Limits
from pruneaudit.study.choose import Choose
from pruneaudit.study.space import Candidate

STALE_BATCHES = 5
"""Optuna stops after this many batches in a row without a new candidate."""
FEWEST_STARTUP = 10
"""Optuna draws at least this many candidates at random before it uses its model."""
WORST = 1e6
_FARTHEST = 40.0


class Proposals(Protocol):
    """Proposes candidates batch by batch."""

    def next(self) -> list[str]:
        """Returns the names of the next batch; empty if the search is over."""
        ...

    def tell(self, measured: Mapping[str, Measured]) -> None:
        """Takes the figures of the batch, by name; candidates that failed are missing."""
        ...


class Grid:
    """All candidates in one batch; where the budget is smaller, as many as it allows, drawn at random."""

    def __init__(self, choose: Choose, seed: int) -> None:
        names = [candidate.name for candidate in choose.candidates]
        if len(names) > choose.budget:
            rng = numpy_generator(seed, seeds.SEARCH)
            names = [names[place] for place in sorted(rng.permutation(len(names))[: choose.budget])]
        self._names = names

    def next(self) -> list[str]:
        """Returns all of them, once."""
        names, self._names = self._names, []
        return names

    def tell(self, measured: Mapping[str, Measured]) -> None:
        """Needs no figures."""


class Optuna:
    """Candidates that Optuna's sampler TPE proposes (Bergstra et al. 2011)."""

    def __init__(self, choose: Choose, seed: int, limits: Limits) -> None:
        optuna = imported()
        self._choose, self._limits = choose, limits
        self._by_place = {(c.entry, c.place): c for c in choose.candidates}
        startup = max(FEWEST_STARTUP, choose.batch)
        sampler = optuna.samplers.TPESampler(seed=seed_for(seed, seeds.SEARCH) % 2**32, n_startup_trials=startup)
        self._study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
        self._asked: list[tuple[Any, str]] = []
        self._known: dict[str, tuple[float, float]] = {}
        self._proposed: set[str] = set()

    def next(self) -> list[str]:
        """Asks for batches until one has a new candidate; repeated ones are told what is known of them."""
        for _ in range(STALE_BATCHES):
            left = min(self._choose.budget, len(self._by_place)) - len(self._proposed)
            if left <= 0:
                return []
            self._asked = [(trial, self._place(trial)) for trial in self._trials()]
            names = dict.fromkeys(name for _, name in self._asked if name not in self._proposed)
            new = list(names)[:left]
            if new:
                self._proposed.update(new)
                return new
            self.tell({})
        return []

    def tell(self, measured: Mapping[str, Measured]) -> None:
        """Tells Optuna the figures of its batch, in the order of trials."""
        for name in self._proposed - self._known.keys():
            self._known[name] = self._figures(measured.get(name))
        for trial, name in self._asked:
            self._study.tell(trial, list(self._known.get(name, (WORST, WORST))))
        self._asked = []

    def _trials(self) -> list[Any]:
        return [self._study.ask() for _ in range(self._choose.batch)]

    def _place(self, trial: Any) -> str:
        """Returns the candidate that a trial proposes: first its template, then a place in each dimension."""
        entries = self._choose.entries
        entry = entries[trial.suggest_categorical("entry", list(range(len(entries))))]
        place = []
        for dimension in entry.dimensions:
            name, last = f"{entry.number}.{'.'.join(map(str, dimension.path))}", len(dimension.values) - 1
            if dimension.is_ordered:
                place.append(trial.suggest_int(name, 0, last))
            else:
                place.append(trial.suggest_categorical(name, list(range(last + 1))))
        found = self._by_place.get((entry.number, tuple(place)))
        return self._twin(entry.candidate(place)) if found is None else found.name

    def _twin(self, candidate: Candidate) -> str:
        """Returns the name of the candidate of another template that has the same settings."""
        release = candidate.release.model_copy(update={"name": ""})
        others = self._by_place.values()
        return next(o.name for o in others if o.release.model_copy(update={"name": ""}) == release)

    def _figures(self, measured: Measured | None) -> tuple[float, float]:
        if measured is None or measured.leakage is None or measured.cost(self._limits) == float("inf"):
            return WORST, WORST
        p_value = min(max(measured.p_value, 1e-300), 1 - 1e-12)
        missed = float(scipy.stats.norm.ppf(p_value))  # below 0: within all limits
        return measured.cost(self._limits), max(missed, -_FARTHEST)


def proposals_of(choose: Choose, seed: int, limits: Limits) -> Proposals:
    """Returns the proposals of a search.

    Raises:
        UserError: Optuna is asked for, but not installed.
    """
    return Optuna(choose, seed, limits) if choose.search == "optuna" else Grid(choose, seed)


def imported() -> Any:
    """Imports Optuna, which then logs warnings only.

    Raises:
        UserError: it is not installed.
    """
    try:
        import optuna
    except ImportError:
        raise UserError(
            "choose.search: got 'optuna', but optuna is not installed; install it with: pip install "
            "'pruneaudit[choose]', or set choose.search = 'grid'"
        ) from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
