"""Low rank: replaces each layer by two smaller ones in a row, from its singular value decomposition.

Linear layers: Denton et al. 2014 (arXiv 1404.0736). Convolutions over channels, an h x k convolution and then 1x1:
Zhang et al. 2015 (arXiv 1505.06798), without their treatment of activations. Convolutions over space, 1 x k and then
h x 1: Jaderberg et al. 2014 (arXiv 1405.3866). Formulas in `factors.py`. Fine-tuning trains the factors, so the rank
stays.

A layer stays whole if its rank is not below break-even, where two layers hold as many weights as one, and if it is
grouped, transposed, shared or computed from other tensors. So do the first convolution and the last linear layer,
unless `split_ends` is set: our own choice, because they have few weights and the network loses most by them.

With `data`, the decomposition minimises the error of outputs on calibration samples instead of that of weights: W L is
decomposed, L L' being the second moment of the layer's inputs in the uncompressed network, and L is undone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, DataUse, Kind, Way
from pruneaudit.compression.mask_options import LayerOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn

    from pruneaudit.compression.factored import Form


class Options(LayerOptions):
    """Settings of low rank."""

    fraction: float = Field(gt=0, le=1)
    """Fraction of each layer that remains, in the unit of `by`. With `by = "error"`, the largest relative error
    instead."""
    by: Literal["weights", "energy", "error"] = "weights"
    """Chooses the rank of each layer: the largest with at most this fraction of the layer's weights, the smallest that
    keeps this fraction of the energy (sum of squared singular values), or the smallest whose relative error is at most
    this. Trained layers spread their energy: 0.9 of it often takes as many weights as before."""
    form: Literal["channel", "spatial"] = "channel"
    """How to split a two-dimensional convolution: h x k then 1 x 1 (`channel`), or 1 x k then h x 1 (`spatial`)."""
    split_ends: bool = False
    """Also split the first convolution and the last linear layer. They have few weights, and splitting them costs most
    accuracy: a classifier of rank 4 can hardly tell 10 classes apart. In a network without other layers, they are
    always split."""
    data: Literal["none", "public", "members"] = "none"
    """Calibration samples: the outputs on them change as little as possible. none: the weights change as little as
    possible."""
    num_samples: int = Field(default=256, ge=1)
    """Number of calibration samples."""


class Svd(Compressor[Options]):
    """Replaces layers by two of low rank."""

    degree = "fraction"
    record = "factors"

    def kind(self, options: Options) -> Kind:
        """Two layers instead of one."""
        return "structure"

    def way(self, options: Options) -> Way:
        """Its own."""
        return "low rank"

    def needs_example(self, options: Options) -> bool:
        """False: it looks at weights alone."""
        return False

    def data(self, options: Options) -> DataUse:
        """The calibration samples, if it uses any."""
        return options.data

    def num_samples(self, options: Options) -> int:
        """The number of calibration samples."""
        return options.num_samples

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Replaces layers, in place; see `Compressor.compress`."""
        from pruneaudit.compression import factors, selection
        from pruneaudit.compression.channel_choice import KeptWhole, kept_notes
        from pruneaudit.compression.decompositions import Split, break_even
        from pruneaudit.compression.layer_inputs import layers_in_order
        from pruneaudit.compression.structure import ChangedArchitecture
        from pruneaudit.core.errors import UserError

        weights = selection.prunable_weights(model, options.exclude, options.layers)
        forms, kept = factors.forms(model, weights, options.form)
        if not forms:
            raise UserError(f"svd: no layer of this network can become two ({'; '.join(kept_notes(kept))})")
        ends = selection.end_layers(model)
        inner = {name: form for name, form in forms.items() if factors.layer_of(name) not in ends}
        forms = inner if inner and not options.split_ends else forms
        ranks = _ranks_of_sizes(weights, forms, options.fraction) if options.by == "weights" else {}
        moments: dict[str, Tensor] = {}
        if options.data != "none":
            assert context.samples is not None
            moments = {each.name: each.moment()[0] for each in layers_in_order(model, context.samples, forms)}
        splits = {name: Split.of(weights[name], form, moments.get(name)) for name, form in forms.items()}
        for name, split in splits.items():
            if options.by != "weights":
                of_values = split.rank_of_energy if options.by == "energy" else split.rank_of_error
                ranks[name] = of_values(options.fraction)
        above = []
        for name, split in splits.items():
            limit = break_even(split.shape)
            if not 1 <= ranks[name] < limit:
                rank = ranks.pop(name)
                reason = f"rank {rank} is not below {limit:.4g}, where two layers hold as many weights as one"
                above.append(KeptWhole(layers=(factors.layer_of(name),), reason=reason))
        layers = tuple(
            factors.LayerFactors(name=factors.layer_of(name), form=splits[name].form, rank=rank)
            for name, rank in ranks.items()
        )
        record = factors.FactorsRecord(layers=layers, kept=kept, above=tuple(above))
        smaller = factors.factorise(model, ranks, splits)
        description = {"ranks": {layer.name: layer.rank for layer in layers}}
        return Compressed(smaller, ChangedArchitecture(record.model_dump_json()), description=description)


def _ranks_of_sizes(weights: Mapping[str, Tensor], forms: Mapping[str, Form], fraction: float) -> dict[str, int]:
    """The rank of each layer by its number of weights; refused before the costly part."""
    from pruneaudit.compression.decompositions import rank_of_weights
    from pruneaudit.compression.factors import layer_of

    return {name: rank_of_weights(layer_of(name), weights[name], form, fraction) for name, form in forms.items()}


COMPRESSOR = Svd()
