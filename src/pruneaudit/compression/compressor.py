"""What every compressor has in common: one way of making a network smaller, one file each.

A compressor changes a network and says what has to stay true of its weights in whatever training follows: a mask, a
grid, a codebook. Hooks hold that, and a later step of a chain, or a release that starts from this one, inherits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, ClassVar, Literal

from pruneaudit.compression.compressed import Compressed, CompressionContext, Constraint
from pruneaudit.core.options import Configured, OptionsT

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruneaudit.study import Origin

__all__ = ["Compressed", "CompressionContext", "Compressor", "Constraint", "DataUse", "Kind"]

Kind = Literal["structure", "mask", "codes", "codebook"]
"""What a compressor leaves: a smaller architecture, a mask, weights on a grid, or weights that share values."""
DataUse = Literal["none", "public", "holdout", "members", "members-soft", "mixed"]
"""Which samples a compressor sees while it works, beside those of the release's own training. `public` and `holdout`:
those that shape models, which come from the holdout where a study has no public part."""
NUM_CALIBRATION = 256
"""How many of them, unless a compressor says otherwise."""


class Compressor(Configured[OptionsT]):
    """One way of making networks smaller; the module's docstring names idea, paper and deviations.

    A subclass names its settings once, as the parameter: `class L1Unstructured(Compressor[Options])`.

    Example:
        >>> pruneaudit.COMPRESSORS.get("rtn").degree
        'bits'
    """

    degree: ClassVar[str] = "sparsity"
    """The option that says how much: a release may name it beside the compressor, and a list of it makes several."""
    semantics_version: ClassVar[int] = 1
    """Raised when results change, so that nothing stale is reused."""
    looks_at_weights: ClassVar[bool] = True
    """Whether what it chooses depends on trained weights: then it passes on what these know of the members."""

    def kind(self, options: OptionsT) -> Kind:
        """What it leaves. A chain goes from structure to masks to codes or shared values."""
        return "mask"

    def changes_architecture(self, options: OptionsT) -> bool:
        """Whether it returns a smaller network; `Compressed.structure` then says how."""
        return self.kind(options) == "structure"

    def data(self, options: OptionsT) -> DataUse:
        """Which samples it sees while it works, beside those of the release's own training."""
        return "none"

    def num_samples(self, options: OptionsT) -> int | None:
        """How many public samples it is given where `data` is `public` or `holdout`: the first ones; None: all."""
        return NUM_CALIBRATION

    def origin(self, options: OptionsT) -> Origin:
        """Whether the release starts from the same model's dense weights or from new ones."""
        return "own-dense"

    def works_in_training(self, options: OptionsT) -> bool:
        """Whether it does its work in training, and is nothing without it."""
        return False

    def trains(self, options: OptionsT) -> bool:
        """Whether it asks for trainings of its own, before that of the release: no network without it has those."""
        return False

    def is_done_by_training(self, options: OptionsT) -> bool:
        """Whether only the training that follows reaches the degree: nothing may follow it in a chain."""
        return False

    def fingerprint(self, options: OptionsT) -> str:
        """What else shapes the result beside the options, such as the hash of a user's source; or nothing."""
        return ""

    def compress(self, model: nn.Module, options: OptionsT, context: CompressionContext) -> Compressed:
        """Compresses `model`, in place or into a new one.

        Args:
            model: the network.
            options: an instance of this compressor's `Options`.
            context: an example input, random numbers, and training where the method needs it.

        Raises:
            UserError: the options do not fit this network.
        """
        raise NotImplementedError

    def constraint(self, state: Mapping[str, Tensor], options: OptionsT) -> Constraint:
        """What has to hold of a network that was compressed earlier, from its stored state.

        A release that starts from such a network inherits it.
        """
        from pruneaudit.compression.mask import Masks
        from pruneaudit.compression.state import masks_in, structure_in

        if self.kind(options) != "structure":
            return masks_in(state) or Masks({})
        from pruneaudit.compression.structured import RemovedChannels

        return RemovedChannels(structure_in(state))

    def state(self, compressed: Compressed) -> dict[str, Tensor]:
        """Every released compressed tensor, after the last training; see `compression.state`.

        Of a chain `Chained.state` puts the states of all steps together.
        """
        from pruneaudit.compression.state import state_of

        return state_of(compressed.model, [compressed.constraint] if compressed.constraint is not None else [])

    def restore(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The compressed weights by parameter name, bit for bit as they were when the state was taken."""
        from pruneaudit.compression.state import restored

        return restored(state)

    def size(self, state: Mapping[str, Tensor]) -> float:
        """Bits of what the state holds: the entropy bound, by one rule for all; see `compression.storage_size`."""
        from pruneaudit.compression.storage_size import state_bits

        return state_bits(state)
