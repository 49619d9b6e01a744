"""Weight clustering: the weights of each layer share a few values, chosen by k-means.

Source: Han et al. 2016 (arXiv 1510.00149), "trained quantization": k-means in each layer, beginning with values in
equal steps from the least to the greatest weight, then fine-tuning of the shared values. Weights that were removed
before are left out and stay zero: a shared value near zero would move them all.

Deviations from the paper: a shared value moves by the mean of its weights' gradients. The paper's sum
(`reduce = "sum"`) grows with the number of weights in the cluster, and would need another learning rate in every
layer. Codes are not Huffman-coded; sizes are the entropy bound, which Huffman codes reach to a few per cent.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pruneaudit.compression.compressor import Compressed, CompressionContext, Compressor, Constraint, Kind
from pruneaudit.compression.mask_options import LayerOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor, nn


class Options(LayerOptions):
    """Settings of weight clustering."""

    clusters: int = Field(ge=2, le=256)
    """Number of values that the weights of one layer share."""
    convolution_clusters: int | None = Field(default=None, ge=2, le=256)
    """The same for convolutions; default: `clusters`."""
    init: Literal["linear", "density", "kmeans++"] = "linear"
    """First centroids of k-means: equal steps from least to greatest weight, quantiles, or weights drawn far apart."""
    reduce: Literal["mean", "sum"] = "mean"
    """Gradient of a shared value in training: the mean or the sum of its weights' gradients."""


class KMeans(Compressor[Options]):
    """Gives the weights of each layer a few shared values."""

    degree = "clusters"

    def kind(self, options: Options) -> Kind:
        """Indices of shared values."""
        return "codebook"

    def compress(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Clusters the weights, in place; see `Compressor.compress`."""
        from pruneaudit.compression.codebooks import Codebook, Codebooks, centroids_of, nearest
        from pruneaudit.compression.matrices import matrices
        from pruneaudit.compression.selection import prunable_weights

        books, convolutions = {}, {matrix.name for matrix in matrices(model) if matrix.kind == "convolution"}
        for name, weight in prunable_weights(model, options.exclude, options.layers).items():
            kept = None if context.masks is None else context.masks.get(name)
            values = weight.detach().cpu()
            values = values.flatten() if kept is None else values[kept]
            if not len(values):  # all of them are removed
                continue
            own = options.convolution_clusters if name in convolutions else None
            centroids = centroids_of(values, own or options.clusters, options.init, context.generator)
            books[name] = Codebook.of(nearest(weight, centroids), kept, centroids)
        codebooks = Codebooks(books, options.reduce)
        codebooks.write(model)
        empty = {name: int((book.counts == 0).sum()) for name, book in books.items()}
        return Compressed(model, codebooks, codebooks.hooks(model), {"empty_clusters": empty})

    def trial(self, model: nn.Module, options: Options, context: CompressionContext) -> Compressed:
        """Checks the layers: any finite weights can be clustered. See `Compressor.trial`."""
        from pruneaudit.compression.selection import prunable_weights

        prunable_weights(model, options.exclude, options.layers)
        return Compressed(model)

    def constraint(self, state: Mapping[str, Tensor], options: Options) -> Constraint:
        """The codebooks of a stored state."""
        from pruneaudit.compression.codebooks import Codebooks

        return Codebooks.of(state, options.reduce)


COMPRESSOR = KMeans()
