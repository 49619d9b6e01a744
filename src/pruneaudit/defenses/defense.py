"""What every defence has in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pruneaudit.core.options import Configured, OptionsT

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch import nn

    from pruneaudit.compression.mask import Masks
    from pruneaudit.study import Training
    from pruneaudit.training.hooks import Hook
    from pruneaudit.training.samples import Samples


@dataclass(frozen=True, eq=False)
class DefenseContext:
    """The training that a defence steps into."""

    settings: Training
    """How the network is trained, after `Defense.settings`."""
    members: Samples
    """What it is trained on (n samples), on its device."""
    public: Samples
    """Samples in nobody's training set and never audited, which may shape the network; may be none."""
    num_classes: int
    masks: Callable[[], Masks | None]
    """The masks of the pruning as they are now (some methods move them); None where nothing is masked."""
    generator: torch.Generator
    """CPU generator of the defence's own draws; the loop has another."""
    sample_scores: np.ndarray | None = None
    """(n,) float64 of the members, higher = more memorised, from a scoring bank; for those that need it."""


class Defense(Configured[OptionsT]):
    """One defence; the module's docstring names idea, formula, paper and deviations.

    Example:
        >>> pruneaudit.DEFENSES.get("ppb").Options().model_dump()
        {'strength': 4.0}
    """

    main: ClassVar[str] = ""
    """The option that is meant by a single number (mia_prune's `defend_arg`)."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """What it cannot do without: `public` samples, `sample_scores`."""
    single_training: ClassVar[bool] = False
    """Whether what it promises is about one training: methods that train several times are then refused."""
    semantics_version: ClassVar[int] = 1
    """Raised when results change, so that nothing stale is reused."""

    def fingerprint(self, options: OptionsT) -> str:
        """What else shapes the result beside the options; or nothing."""
        return ""

    def settings(self, options: OptionsT, training: Training) -> Training:
        """The training settings under this defence.

        Raises:
            UserError: the two do not go together; the message says what would.
        """
        return training

    def prepare(self, model: nn.Module, options: OptionsT) -> nn.Module:
        """The network in the form that this defence can train, in place or a new one, the same for equal options.

        It is called on a freshly built network before weights are loaded, so it must not depend on weights.
        """
        return model

    def hooks(self, model: nn.Module, options: OptionsT, context: DefenseContext) -> tuple[Hook, ...]:
        """What steps into training, in the order in which it is called, after the hooks of the pruning."""
        return ()

    def report(
        self, hooks: tuple[Hook, ...], pretrained: bool | None = None, masked: bool | None = None
    ) -> dict[str, Any]:
        """What is to be said of the trained release, as JSON data (such as the epsilon spent).

        Args:
            hooks: those of this defence, after training.
            pretrained: whether training began from weights that were made without the defence; None: not known.
            masked: whether a mask was chosen from such weights; None: not known.
        """
        return {}
