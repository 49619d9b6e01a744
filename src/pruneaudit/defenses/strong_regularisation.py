"""Strong regularisation: reduces overfitting by CutMix, dropout before the classifier and more weight decay.

A network that overfits less leaks less. These three cost only accuracy, so other defences should do better.

- CutMix (Yun et al. 2019, arXiv 1905.04899): with a given probability, each image of a batch gets a box of another
  image of the batch (one box and one order for the whole batch), and both labels, weighted by area. The share of the
  own image is drawn from Beta(a, a), a = `cutmix_alpha`, then corrected to the area that is really left, since boxes
  are cut off at the border. Deviation from the authors' program: a box of odd size is not one pixel smaller.
- Dropout (Srivastava et al. 2014) of the inputs of the last linear layer, in addition to the network's own dropout.
  It is a hook on that layer, not a new layer, so weights keep their names.
- Weight decay in place of the training's own, which must not be larger.

Rows of a table have no neighbourhoods, so CutMix refuses them (`cutmix_probability = 0` leaves the other two).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.study import Training
    from pruneaudit.training.hooks import Hook


class StrongRegularisationOptions(Options):
    """The strength of each part."""

    weight_decay: float = Field(default=1e-3, ge=0)
    """Weight decay, in place of the training's own."""
    dropout: float = Field(default=0.1, ge=0, lt=1)
    """Probability that an input of the last linear layer is set to zero in training."""
    cutmix_alpha: float = Field(default=1.0, gt=0)
    """Parameter of the Beta distribution of shares: 1 is uniform, below 1 favours small and large boxes."""
    cutmix_probability: float = Field(default=0.5, ge=0, le=1)
    """Fraction of batches that are mixed (the paper, CIFAR: 0.5)."""


class StrongRegularisation(Defense[StrongRegularisationOptions]):
    """Regularises by data, network and optimizer at once."""

    main = "weight_decay"

    def settings(self, options: StrongRegularisationOptions, training: Training) -> Training:
        """The settings with this weight decay.

        Raises:
            UserError: the training's own is larger.
        """
        if options.weight_decay < training.weight_decay:
            raise UserError(
                f"defense 'strong_regularisation': got weight_decay = {options.weight_decay:g}, expected at least the "
                f"training's own {training.weight_decay:g}; raise it, or lower the training's"
            )
        return training.model_copy(update={"weight_decay": options.weight_decay})

    def prepare(self, model: nn.Module, options: StrongRegularisationOptions) -> nn.Module:
        """The same network, with dropout before its last linear layer; weights keep their names.

        Raises:
            UserError: it has no linear layer.
        """
        from pruneaudit.defenses._regularisers import drop_inputs_of_classifier

        if options.dropout:
            drop_inputs_of_classifier(model, options.dropout)
        return model

    def hooks(
        self, model: nn.Module, options: StrongRegularisationOptions, context: DefenseContext
    ) -> tuple[Hook, ...]:
        """The hook of CutMix; dropout is in the network, weight decay in the settings.

        Raises:
            UserError: samples are rows of a table.
        """
        from pruneaudit.defenses._regularisers import CutMix

        if not options.cutmix_probability:
            return ()
        if context.members.kind != "image":
            raise UserError(
                f"defense 'strong_regularisation': got samples of shape {tuple(context.members.stored.shape[1:])}, "
                "expected images to cut boxes from; for a table or texts, set cutmix_probability = 0"
            )
        return (CutMix(options.cutmix_alpha, options.cutmix_probability, context.generator),)


DEFENSE = StrongRegularisation()
