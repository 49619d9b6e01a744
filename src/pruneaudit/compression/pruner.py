"""What every pruning method has in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pruneaudit.core.options import Options

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pruneaudit.compression.mask import Masks
    from pruneaudit.study import Origin
    from pruneaudit.training.hooks import Hook


@dataclass
class Pruning:
    """A model made ready for the training that follows."""

    model: nn.Module
    """The pruned model (the one that came in, or a smaller one)."""
    masks: Masks | None = None
    """Which weights are kept, where the method works by mask; hooks that move the mask keep this up to date."""
    hooks: tuple[Hook, ...] = ()
    """What training must run so that the pruning holds."""
    structure: str = ""
    """What was removed from the architecture, as JSON text that `compression.structured.replay` takes; empty where the
    architecture is as it was."""


@dataclass(frozen=True)
class Workshop:
    """What a pruning method may use beside the model."""

    example: Tensor
    """One input (1, K, H, W) or (1, F) float32 on the model's device; only its shape matters."""
    generator: torch.Generator
    """CPU generator of any random choice."""
    train: Callable[[nn.Module, Sequence[Hook], str, int | None], None]
    """`train(model, hooks, phase, epochs)` trains a model in place, on its own members, as the release's fine-tuning
    says; `phase` names the training (its random draws come from the name), `epochs` None leaves them as they are."""
    initial: Callable[[], nn.Module]
    """A model of the same architecture with the weights that this model began from."""

    def restart(self, model: nn.Module) -> None:
        """Gives `model`, of that architecture, the weights that it began from."""
        model.load_state_dict(self.initial().state_dict())


class Pruner:
    """One way of removing weights; the module's docstring names idea, paper and deviations."""

    Options: ClassVar[type[Options]] = Options
    """What can be set; torch-free."""
    semantics_version: ClassVar[int] = 1
    """Raised when results change, so that nothing stale is reused."""

    def changes_architecture(self, options: Any) -> bool:
        """Whether it returns a smaller network (then `Pruning.structure` says how)."""
        return False

    def works_by_mask(self, options: Any) -> bool:
        """Whether weights are kept at zero by a mask (then `Pruning.masks` is there in the end)."""
        return not self.changes_architecture(options)

    def origin(self, options: Any) -> Origin:
        """Whether the release starts from the same model's dense weights or from new ones."""
        return "own-dense"

    def needs_training(self, options: Any) -> bool:
        """Whether the method does its work in the training that follows, and is nothing without it."""
        return False

    def fingerprint(self, options: Any) -> str:
        """What else shapes the pruning beside its options, such as the hash of a user's source; or nothing."""
        return ""

    def prune(self, model: nn.Module, sparsity: float, options: Any, workshop: Workshop) -> Pruning:
        """Prunes `model`, in place or into a new one.

        Args:
            model: the network.
            sparsity: fraction of prunable weights to remove, in (0, 1).
            options: an instance of this method's `Options`.
            workshop: an example input, random numbers, and training where the method needs it.

        Raises:
            UserError: options or sparsity do not fit this network.
        """
        raise NotImplementedError
