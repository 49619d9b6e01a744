"""What a compressor gives, and what it is given: the network, what holds of its weights, and what it may use."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pruneaudit.compression.mask import Masks
    from pruneaudit.training.hooks import Hook
    from pruneaudit.training.samples import Samples


class Constraint:
    """What holds of a compressed network's weights, whatever training follows."""

    structure: str = ""
    """What was removed from the architecture, as JSON text that `structured.replay` takes; empty: nothing."""

    @property
    def masks(self) -> Masks | None:
        """Itself, where it says which weights are kept."""
        return None

    def hooks(self, model: nn.Module) -> tuple[Hook, ...]:
        """What a training of `model` must run so that the constraint holds."""
        raise NotImplementedError

    def apply(self, model: nn.Module) -> None:
        """Puts the weights of `model` back on it, in place."""
        raise NotImplementedError

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """What the weights of `model` are rebuilt from; see `compression.state`."""
        raise NotImplementedError

    def found_in(self, model: nn.Module) -> Constraint:
        """The constraint as the model's own weights show it, which may be those of an earlier epoch."""
        return self


@dataclass
class Compressed:
    """A network that one compressor has made ready for the training that follows."""

    model: nn.Module
    """The compressed network: the one that came in, or a smaller one."""
    constraint: Constraint | None = None
    """What holds of its weights; hooks that change it in training keep this up to date."""
    hooks: tuple[Hook, ...] = ()
    """What training must run so that the compression holds."""
    description: Mapping[str, Any] = field(default_factory=dict)
    """What was done, as JSON data."""

    @property
    def masks(self) -> Masks | None:
        """Which weights are kept, where the constraint is a mask."""
        return self.constraint.masks if self.constraint is not None else None

    @property
    def structure(self) -> str:
        """What was removed from the architecture, as JSON text; empty where it is as it was."""
        return self.constraint.structure if self.constraint is not None else ""


@dataclass(frozen=True)
class CompressionContext:
    """What a compressor may use beside the model."""

    example: Tensor
    """One input (1, K, H, W) or (1, F) float32 on the model's device; only its shape matters."""
    generator: torch.Generator
    """CPU generator of any random choice."""
    train: Callable[[nn.Module, Sequence[Hook], str, int | None], None]
    """`train(model, hooks, phase, epochs)` trains a model in place, on its own members, as the release's fine-tuning
    says; `phase` names the training (its random draws come from the name), `epochs` None leaves them as they are."""
    initial: Callable[[], nn.Module]
    """A model of the same architecture with the weights that this model began from."""
    masks: Masks | None = None
    """Which weights earlier compressors have kept; None where none of them removed any."""
    public: Samples | None = None
    """Samples that shape the network and are members of none, for a compressor whose `data` is `public`: the first
    `Compressor.num_samples` of the study's public part, or of its holdout where it has none; else None."""

    def restart(self, model: nn.Module) -> None:
        """Gives `model`, of that architecture, the weights that it began from."""
        model.load_state_dict(self.initial().state_dict())
