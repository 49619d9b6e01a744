"""The base class of defences."""

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
    from pruneaudit.data.inputs import Inputs
    from pruneaudit.study import Training
    from pruneaudit.training.hooks import Hook
    from pruneaudit.training.samples import Samples


@dataclass(frozen=True, eq=False)
class DefenseContext:
    """The training that a defence modifies."""

    settings: Training
    """How the network is trained, after `Defense.settings`."""
    members: Samples
    """The training samples (n), on the network's device."""
    public: Samples
    """Samples in no training set and never audited; a defence may use them. Can be empty."""
    num_classes: int
    masks: Callable[[], Masks | None]
    """Returns the current pruning masks (some methods move them); None if nothing is masked."""
    generator: torch.Generator
    """CPU generator for the defence's own draws; the training loop has another."""
    sample_scores: np.ndarray | None = None
    """(n,) float64, one per member, higher = more memorised, from a scoring bank; only for defences that need it."""


class Defense(Configured[OptionsT]):
    """A defence: changes training to make members harder to identify. Its module gives idea, paper and deviations.

    Example:
        >>> pruneaudit.DEFENSES.get("ppb").Options().model_dump()
        {'strength': 4.0}
    """

    main: ClassVar[str] = ""
    """The option that a single number sets (mia_prune's `defend_arg`)."""
    needs: ClassVar[frozenset[str]] = frozenset()
    """Inputs that it requires: `public` samples, `sample_scores`."""
    single_training: ClassVar[bool] = False
    """Whether its guarantee covers one training only; then pruning methods that train several times are refused."""
    independent_draws: ClassVar[bool] = False
    """Whether every training under it draws independently of all other trainings: its batches and its noise are seeded
    by the whole release. Otherwise all releases of a model use the same draws where they can."""
    semantics_version: ClassVar[int] = 1
    """Raised when results change, so that stale ones are not reused."""

    def fingerprint(self, options: OptionsT) -> str:
        """Returns, as text, anything besides the options that affects the result; empty if nothing does."""
        return ""

    def settings(self, options: OptionsT, training: Training) -> Training:
        """Returns the training settings under this defence.

        Raises:
            UserError: defence and settings are incompatible; the message names compatible ones.
        """
        return training

    def prepare(self, model: nn.Module, options: OptionsT) -> nn.Module:
        """Returns the network in a form that this defence can train: changed in place, or a new one.

        Equal options give equal networks. It is called on a freshly built network before weights are loaded, so it
        must not depend on weights.
        """
        return model

    def try_batch(self, model: nn.Module, x: Inputs, y: torch.Tensor) -> None:
        """Checks on one batch, before any training, that this defence can train a network; default: no check.

        Args:
            model: the network, prepared and on the CPU; it is not used afterwards.
            x: B samples.
            y: their labels (B,).

        Raises:
            UserError: it cannot; the message says how to change the network.
        """

    def hooks(self, model: nn.Module, options: OptionsT, context: DefenseContext) -> tuple[Hook, ...]:
        """Returns the training hooks, in calling order; they are called after the hooks of the compression."""
        return ()

    def report(self, hooks: tuple[Hook, ...]) -> dict[str, Any]:
        """Returns facts about the training, as JSON data (such as the epsilon spent).

        Args:
            hooks: this defence's hooks, after training.
        """
        return {}
