"""What every pruning method has in common."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pruneaudit.options import Options

if TYPE_CHECKING:
    import torch
    from torch import nn

    from pruneaudit.pruning.mask import Masks
    from pruneaudit.training.hooks import Hook


@dataclass(frozen=True)
class Pruning:
    """A model made ready for fine-tuning."""

    model: nn.Module
    """The pruned model (the one that came in, or a smaller one)."""
    masks: Masks | None
    """Which weights are kept, where the method works by mask."""
    hooks: tuple[Hook, ...]
    """What fine-tuning must run so that the pruning holds."""


class Pruner:
    """One way of removing weights; the module's docstring names idea, paper and deviations."""

    Options: ClassVar[type[Options]] = Options
    """What can be set; torch-free."""
    origin: ClassVar[Literal["own-dense", "init"]] = "own-dense"
    """Whether it starts from the same model's dense weights or from new ones."""
    semantics_version: ClassVar[int] = 1
    """Raised when results change, so that nothing stale is reused."""

    def fingerprint(self, options: Any) -> str:
        """What else shapes the pruning beside its options, such as the hash of a user's source; or nothing."""
        return ""

    def prune(self, model: nn.Module, sparsity: float, options: Any, generator: torch.Generator) -> Pruning:
        """Prunes `model`, in place or into a new one.

        Args:
            model: the network.
            sparsity: fraction of prunable weights to remove, in (0, 1).
            options: an instance of this method's `Options`.
            generator: CPU generator of any random choice.

        Raises:
            UserError: options or sparsity do not fit this network.
        """
        raise NotImplementedError
