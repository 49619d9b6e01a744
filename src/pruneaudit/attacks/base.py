"""BASE: the victim's loss against what models in general think of the sample.

arXiv 2505.24089. Score: ln p_y(victim) - c ln mean_k p_y(reference k). Online the mean runs over all
references and c = 1; offline over those that never saw the sample, and c = 0.33. Online, with the same
mean, it ranks the samples of a victim as RMIA does.
"""

# V victims, N samples

from __future__ import annotations

from typing import Literal

import numpy as np
from pydantic import Field

from pruneaudit import options
from pruneaudit.attacks.attack import Attack
from pruneaudit.attacks.moments import averaged, means
from pruneaudit.attacks.view import Scores, View
from pruneaudit.signals.derived import log_probability, probability

SCALES = {"online": 1.0, "offline": 0.33}


class Options(options.Options):
    """Settings of BASE."""

    mode: Literal["online", "offline"] = "online"
    """Compare with all references, or with OUT references alone."""
    scale: float | None = Field(default=None, ge=0)
    """c; default: 1 online, 0.33 offline."""


class Base(Attack):
    """ln p_y less the scaled logarithm of its mean over references."""

    Options = Options
    needs = frozenset({"references"})

    @property
    def compares_in(self) -> bool:
        """The online mean does."""
        return bool(self.options.mode == "online")

    def score(self, view: View, rng: np.random.Generator) -> Scores:
        """Scores every victim against its allowed references; `rng` is not used."""
        mode = self.options.mode
        scale = SCALES[mode] if self.options.scale is None else self.options.scale
        member = view.reference.member
        chosen = np.ones_like(member) if mode == "online" else ~member

        def one_query(query: int) -> np.ndarray:
            expected = means(probability(view.reference.phi[..., query]), chosen, view.allowed)  # (V, N)
            return log_probability(view.attacked.phi[view.victims, :, query]) - scale * np.log(expected)

        scores = averaged(one_query(query) for query in range(view.attacked.num_queries))
        scores[~view.eligible] = np.nan
        return Scores(scores, variant=f"{mode}, scale {scale:g}")


ATTACK = Base
