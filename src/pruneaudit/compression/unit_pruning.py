"""Removes whole heads of attention, or hidden units of feed-forward blocks: the network becomes smaller and faster.

Michel et al. 2019 (arXiv 1905.10650) rank all heads of a network by how much its loss depends on a gate on each one,
relative to their layer, and remove the least important of all layers together; one head of each layer stays. The same
gates rank hidden units (McCarley et al. 2019, arXiv 1910.06360, learn them; here they are only differentiated).
Deviations: the authors remove a tenth of the heads at a time and test after each step; here a fraction goes at once, in
an order that is computed once, as theirs is. Their gates see a training set; here public samples, unless `data` says
otherwise.

Unlike in other methods, sparsity is the fraction of heads or units, because a head is a large step: a network of two
layers with four heads has eight. Reports give the fraction of weights that this removes.

`heads` finds attention, and `ffn` feed-forward blocks, in the package's networks, in those of transformers and timm, in
torch's `nn.MultiheadAttention`, and in users' own code; `attention.py` says how. Each removal is checked on random
weights against the network that does not read these units; a layer that fails stays whole, and is named.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field, model_validator

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, DataUse, Kind
from pruneaudit.core import options

if TYPE_CHECKING:
    from torch import nn

    from pruneaudit.compression.units import RecordKind


class UnitOptions(options.Options):
    """Which units go, and what ranks them."""

    sparsity: float = Field(gt=0, lt=1)
    """Fraction of the heads or hidden units to remove, to the nearest whole number; one of each layer stays."""
    importance: Literal["gradient", "magnitude"] = "gradient"
    """How to rank them: by the derivative of the loss with respect to a gate on each one, or by the size of their
    weights."""
    scope: Literal["global", "layerwise"] = "global"
    """Rank those of all layers together, or remove the same fraction of each layer."""
    exclude: tuple[str, ...] = ()
    """Attentions or layers to leave whole, with everything inside them: module names."""
    data: Literal["public", "members"] = "public"
    """Samples for `gradient`, with labels: public ones (of the holdout in a study without them), or the network's own
    members."""
    num_samples: int = Field(default=256, ge=1)
    """Number of samples, at most half of those available."""

    @model_validator(mode="after")
    def _samples_are_for_gradients(self) -> UnitOptions:
        default = type(self).model_fields["num_samples"].default
        if self.importance == "magnitude" and (self.data != "public" or self.num_samples != default):
            raise ValueError("importance = 'magnitude' looks at no samples; leave data and num_samples out")
        return self


class HeadOptions(UnitOptions):
    """Settings of the removal of heads."""


class FfnOptions(UnitOptions):
    """Settings of the removal of hidden units."""

    scope: Literal["global", "layerwise"] = "layerwise"
    """Remove the same fraction of each layer, or rank the units of all layers together."""


class UnitRemoval(Compressor[UnitOptions]):
    """Removes the least important units of a kind."""

    units: ClassVar[RecordKind]
    """The units: heads, or hidden units."""

    def kind(self, options: UnitOptions) -> Kind:
        """A smaller network."""
        return "structure"

    def data(self, options: UnitOptions) -> DataUse:
        """The samples for gradients."""
        return options.data if options.importance == "gradient" else "none"

    def num_samples(self, options: UnitOptions) -> int:
        """The number of these samples."""
        return options.num_samples

    def needs_labels(self, options: UnitOptions) -> bool:
        """The loss needs them."""
        return options.importance == "gradient"

    def compress(self, model: nn.Module, options: UnitOptions, context: CompressionContext) -> Compressed:
        """Removes units, in place; see `Compressor.compress`."""
        from pruneaudit.compression.structure import ChangedArchitecture
        from pruneaudit.compression.unit_choice import chosen, found_groups
        from pruneaudit.compression.unit_importance import by_gradient, by_magnitude
        from pruneaudit.compression.units import UnitsRecord, cut

        found = found_groups(model, context.example, self.units, options.exclude)
        if options.importance == "gradient":
            assert context.samples is not None
            scores = by_gradient(model, found.groups, context.samples)
        else:
            scores = by_magnitude(model, found.groups)
        groups = chosen(found, scores, options.sparsity, options.scope)
        cut(model, groups)
        record = UnitsRecord(kind=self.units, groups=groups, sparsity=options.sparsity, kept=found.kept)
        removed = {group.name: list(group.removed) for group in groups}
        return Compressed(model, ChangedArchitecture(record.model_dump_json()), description={"removed": removed})


class Heads(UnitRemoval):
    """Removes whole heads of attention, the least important ones of the network: it becomes smaller and faster.

    Michel et al. 2019 (arXiv 1905.10650).
    """

    Options = HeadOptions
    units = record = "heads"


class Ffn(UnitRemoval):
    """Removes hidden units of feed-forward blocks: the network becomes smaller and faster.

    The gates of Michel et al. 2019 (arXiv 1905.10650) on hidden units.
    """

    Options = FfnOptions
    units = record = "units"


COMPRESSOR = {"heads": Heads(), "ffn": Ffn()}
