"""The base: a network that is trained once on public samples; all models start from its weights."""

from __future__ import annotations

from typing import Literal

from pruneaudit.study.training import FineTuning, Training

BASE = "base"
"""The kind of its artifact, and the name of its task; no release of a study with a base can have it."""


class Base(FineTuning):
    """A network that is trained once on the public samples (`data.num_public`).

    All dense networks start from its weights, and so does each release from new weights of the same network. It sees no
    audited sample, no canary and no holdout sample. Settings that it omits are as in `training`.

    Example:
        >>> study = pruneaudit.Study(name="tuned", data={"num_public": 1000}, base={"epochs": 5})
        >>> study.base.head
        'kept'
    """

    select: Literal["last"] = "last"
    """The epoch whose weights to keep. The base is trained on the dev set (it is public), so the dev set cannot choose
    an epoch."""
    lora: None = None
    """Not available: all weights of a base are trained."""
    head: Literal["kept", "new"] = "kept"
    """The last layer of the models: `kept` (from the base) or `new` (drawn for each model)."""

    def training(self, training: Training) -> Training:
        """Returns its training: that of the dense networks, overridden by the settings given here."""
        settings = FineTuning.model_validate(self.model_dump(include=set(FineTuning.model_fields)))
        return settings.over(training, BASE)
