"""Early stopping: ends training once the dev set stops improving, or after a fixed number of epochs.

By patience (the default, as in mia_prune, arXiv 2202.03335): each epoch measures the accuracy on the dev set (the
public samples). Training ends after `patience` + 1 epochs in a row without a new best (patience 5: on the 6th), and
keeps the best epoch's weights (the first of equals). The training's settings become `select = "best_dev"` with that
`patience`; the learning-rate schedule is still that of the full training.

By number (`epochs = E`): training has E epochs and needs no dev set. It is a shorter training, not a longer one cut
off: a cosine schedule reaches zero after E epochs, and milestones after E are never reached. A sweep of E gives the
simplest curve of accuracy against leakage; every other defence should beat it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.study import Training
    from pruneaudit.training.hooks import Hook

PATIENCE = 5


class EarlyStoppingOptions(Options):
    """When training ends."""

    epochs: int | None = Field(default=None, ge=1, le=100_000)
    """Number of epochs to train; default: the dev set decides."""
    patience: int = Field(default=PATIENCE, ge=0, le=100_000)
    """Training ends after more than this many epochs in a row without improvement on the dev set."""

    @model_validator(mode="after")
    def _one_way(self) -> EarlyStoppingOptions:
        if self.epochs is not None and self.patience != PATIENCE:
            raise ValueError(
                f"got epochs = {self.epochs} and patience = {self.patience}, expected one of them: epochs is a fixed "
                "number, patience goes by the dev set"
            )
        return self


class EarlyStopping(Defense[EarlyStoppingOptions]):
    """Ends training early."""

    main = "epochs"

    def settings(self, options: EarlyStoppingOptions, training: Training) -> Training:
        """Fewer epochs, or the best epoch on the dev set.

        Raises:
            UserError: the number of epochs is above the training's own.
        """
        if options.epochs is None:
            return training.model_copy(update={"select": "best_dev", "patience": options.patience})
        if options.epochs > training.epochs:
            raise UserError(
                f"defense 'early_stopping': got epochs = {options.epochs}, expected at most the training's own "
                f"{training.epochs}; raise training.epochs or stop earlier"
            )
        return training.model_copy(update={"epochs": options.epochs})

    def hooks(self, model: nn.Module, options: EarlyStoppingOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """No hooks: the training itself follows the dev set, as its settings say.

        Raises:
            UserError: the dev set is needed and empty.
        """
        if options.epochs is None and not len(context.public):
            raise UserError(
                "defense 'early_stopping': got no public samples, expected data.num_public above 0 (they are the dev"
                " set), or epochs = E for a fixed number of epochs"
            )
        return ()


DEFENSE = EarlyStopping()
