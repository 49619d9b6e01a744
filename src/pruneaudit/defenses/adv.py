"""Adversarial regularisation: trains the network against an attacker that learns alongside it.

Source: Nasr et al. 2018 (arXiv 1807.05852). The attacker is an MLP h on [softmax | one-hot label] that learns to
separate members (1) from public samples (0). The network's loss is CE + strength x mean log h(members). The second term
is the members' part of the attacker's gain, as in the authors' algorithm.

The two alternate in every step: the attacker learns from a batch of members and as many public samples, then the
network takes a step against it. The attacker sees both as an auditor would: without augmentation, in evaluation
mode. In training mode, dropout and batch statistics would give members away.

mia_prune's `adv` trains differently. One of its epochs is seven steps of the attacker and one step of the network, on
one batch, so 50 epochs of fine-tuning are 50 steps of the network; here every batch of an epoch is such a step. Its
attacker has 512, 256 and 128 hidden units, dropout 0.2, Xavier weights and a weight decay of 5e-4. `strength` also
multiplies the attacker's loss, and the dev set provides the non-members. The closest settings here are
`attacker_steps=7`, `attacker_hidden=[512, 256, 128]`.

Deviations from the paper: one MLP on the joined inputs instead of two branches of up to 1024 units; Kaiming
initialisation; members and public samples are drawn with replacement. Non-members are public samples only, because
training must not use audited ones. Each epoch's row gets `attacker_accuracy`, the attacker's accuracy in [0, 1] on
batches that it has not learned from yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar

from pydantic import Field

from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.defenses.defense import Defense, DefenseContext

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.training.hooks import Hook


class AdvOptions(Options):
    """The attacker, and how much its gain weighs."""

    strength: float = Field(default=1.0, ge=0)
    """Weight of the attacker's gain (lambda of the paper, `defend_arg` of mia_prune); 0 is plain training."""
    attacker_steps: int = Field(default=1, ge=1, le=1000)
    """Steps of the attacker before each step of the network."""
    attacker_learning_rate: float = Field(default=1e-3, gt=0)
    """Learning rate of the attacker's Adam."""
    attacker_hidden: tuple[Annotated[int, Field(ge=1, le=4096)], ...] = (128, 64)
    """Units of the attacker's hidden layers."""


class AdversarialRegularisation(Defense[AdvOptions]):
    """Trains against an inner attacker."""

    main = "strength"
    needs: ClassVar[frozenset[str]] = frozenset({"public"})

    def hooks(self, model: nn.Module, options: AdvOptions, context: DefenseContext) -> tuple[Hook, ...]:
        """The attacker, and its gain added to the loss.

        Raises:
            UserError: there are no public samples.
        """
        from pruneaudit.defenses._adversary import Adversary

        if not len(context.public):
            raise UserError(
                "defense 'adv': got no public samples, expected data.num_public above 0: its attacker learns from "
                "them how the network answers on non-members"
            )
        if not options.strength:
            return ()
        return (Adversary(options, context),)


DEFENSE = AdversarialRegularisation()
