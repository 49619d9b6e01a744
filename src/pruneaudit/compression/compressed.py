"""The result of a compressor (network and constraint), and the context that it works in."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from pruneaudit.compression.mask import Masks
    from pruneaudit.data.inputs import Inputs
    from pruneaudit.training.hooks import Hook
    from pruneaudit.training.samples import Samples


class Constraint:
    """A property of a compressed network's weights that any later training must keep."""

    structure: str = ""
    """The change of the architecture, as JSON text for `structure.replay`; empty: none."""

    @property
    def masks(self) -> Masks | None:
        """Itself if it is a mask, else None."""
        return None

    def hooks(self, model: nn.Module) -> tuple[Hook, ...]:
        """The hooks with which a training of `model` keeps the constraint."""
        raise NotImplementedError

    def apply(self, model: nn.Module) -> None:
        """Makes the weights of `model` satisfy it, in place."""
        raise NotImplementedError

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """The tensors that rebuild the weights of `model`; see `compression.state`."""
        raise NotImplementedError

    def found_in(self, model: nn.Module) -> Constraint:
        """The constraint that the model's own weights satisfy; they can be those of an earlier epoch."""
        return self


@dataclass
class Compressed:
    """A network that one compressor has prepared for the training that follows."""

    model: nn.Module
    """The compressed network: the given one, or a smaller one."""
    constraint: Constraint | None = None
    """The constraint on its weights; hooks that change it in training keep this up to date."""
    hooks: tuple[Hook, ...] = ()
    """The hooks that keep the compression in training."""
    description: Mapping[str, Any] = field(default_factory=dict)
    """What the compressor did, as JSON data."""
    samples: Samples | None = None
    """The samples of the training that follows; None: the members."""

    @property
    def masks(self) -> Masks | None:
        """Which weights are kept; None if the constraint is no mask."""
        return self.constraint.masks if self.constraint is not None else None

    @property
    def structure(self) -> str:
        """The change of the architecture, as JSON text; empty if there is none."""
        return self.constraint.structure if self.constraint is not None else ""


@dataclass(frozen=True)
class CompressionContext:
    """What a compressor may use in addition to the model."""

    example: Inputs
    """One input (1, K, H, W) or (1, F) float32, or a text, on the model's device; only its shape matters."""
    generator: torch.Generator
    """CPU generator for all random choices."""
    train: Callable[[nn.Module, Sequence[Hook], str, int | None], None]
    """`train(model, hooks, phase, epochs)` trains a model in place, on its own members, with the settings of the
    release's fine-tuning. `phase` names the training and seeds its random draws; `epochs` None means as many as in the
    fine-tuning."""
    initial: Callable[[], nn.Module]
    """Returns a model of the same architecture with this model's initial weights."""
    early: Callable[[], nn.Module] | None = None
    """Returns a model of the same architecture with the weights that this model had early in its dense training; None
    if they were not kept (`training.keep_early`)."""
    masks: Masks | None = None
    """Which weights earlier compressors have kept; None if they removed none."""
    samples: Samples | None = None
    """The samples that `Compressor.data` names, with labels; None for `none`. For `public`: the first
    `Compressor.num_samples` of the study's public part, or of its holdout if there is no public part; no network is
    trained on them. For `members`: as many of the network's own members. At most half of the available samples, unless
    the compressor asks for all."""
    teacher: nn.Module | None = None
    """The parent's network, in evaluation mode, for a compressor that `learns_from_parent`; else None."""

    def restart(self, model: nn.Module) -> None:
        """Gives `model` its initial weights again."""
        model.load_state_dict(self.initial().state_dict())
