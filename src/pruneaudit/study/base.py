"""The base: a network that is trained once on public samples, and from whose weights all models start."""

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
    """The epoch whose weights to keep; the dev set is public, so the base learns it and cannot be chosen with it."""
    lora: None = None
    """A base is trained in full."""
    head: Literal["kept", "new"] = "kept"
    """The last layer of the models: `kept` (the base's) or `new` (each model draws its own)."""

    def training(self, training: Training) -> Training:
        """Returns its training: that of the dense networks, overridden by the settings given here."""
        settings = FineTuning.model_validate(self.model_dump(include=set(FineTuning.model_fields)))
        return settings.over(training, BASE)
