"""The base class of compressors: one way to make a network smaller, one file each.

A compressor changes a network and returns a constraint on its weights: a mask, a grid, a codebook. Hooks keep the
constraint in any later training. A later step of a chain, or a release that starts from this one, inherits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pruneaudit.compression.compressed import Compressed, CompressionContext, Constraint
from pruneaudit.core.options import Configured, OptionsT

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pruneaudit.study import Origin

__all__ = ["Compressed", "CompressionContext", "Compressor", "Constraint", "DataUse", "Kind", "Way"]

Kind = Literal["student", "structure", "mask", "codes", "codebook", "training"]
"""The result of a compressor: another network, a smaller architecture, a mask, weights on a grid, weights that share
values, or only trained weights."""
Way = Literal["pruning", "structure", "quantisation", "clustering", "low rank", "distillation", ""]
"""The way of compressing under which reports list a compressor; empty for one that only trains."""
_WAYS: dict[Kind, Way] = {
    "mask": "pruning",
    "structure": "structure",
    "codes": "quantisation",
    "codebook": "clustering",
    "student": "distillation",
    "training": "",
}
DataUse = Literal["none", "public", "holdout", "members", "members-soft", "mixed"]
"""The samples that a compressor uses, in addition to those of the release's own training. `public` and `holdout`:
public samples, or samples of the holdout in a study without a public part."""
NUM_CALIBRATION = 256
"""Default number of samples for calibration."""


class Compressor(Configured[OptionsT]):
    """A compression method: makes networks smaller. Its module gives idea, paper and deviations.

    A subclass names its settings as the type parameter: `class L1Unstructured(Compressor[Options])`.

    Example:
        >>> pruneaudit.COMPRESSORS.get("rtn").degree
        'bits'
    """

    degree: ClassVar[str] = "sparsity"
    """The option for how much to compress. A release can give it next to the compressor; a list makes one release per
    value."""
    semantics_version: ClassVar[int] = 1
    """Raised when results change, so that stale ones are not reused."""
    learns_from_parent: ClassVar[bool] = False
    """Whether its network is a new one, possibly of another architecture, that learns from the outputs of the parent's
    network."""
    record: ClassVar[str] = "channels"
    """For the kind `structure`: the kind of record that it writes; see `compression.structure`."""

    def kind(self, options: OptionsT) -> Kind:
        """The kind of its result. A chain goes from another network to structure, masks, codes or shared values."""
        return "mask"

    def way(self, options: OptionsT) -> Way:
        """The way of compressing under which reports list it. Default: by the kind of its result."""
        return _WAYS[self.kind(options)]

    def changes_architecture(self, options: OptionsT) -> bool:
        """Whether it returns a smaller network; `Compressed.structure` then lists the removed parts."""
        return self.kind(options) == "structure"

    def needs_example(self, options: OptionsT) -> bool:
        """Whether it must know the shape of one input."""
        return self.changes_architecture(options)

    def data(self, options: OptionsT) -> DataUse:
        """The samples that it uses, in addition to those of the release's own training."""
        return "none"

    def reads_public(self, options: OptionsT) -> bool:
        """Whether it uses public or holdout samples; these are then excluded from all nulls of the release."""
        return self.data(options) in ("public", "holdout", "mixed")

    def num_samples(self, options: OptionsT) -> int | None:
        """Number of samples of its `data` that it gets, at most half of those available; None: all of them."""
        return NUM_CALIBRATION

    def needs_labels(self, options: OptionsT) -> bool:
        """Whether it also uses the labels of these samples."""
        return False

    def origin(self, options: OptionsT) -> Origin:
        """Whether the release starts from the same model's dense weights or from new ones."""
        return "own-dense"

    def works_in_training(self, options: OptionsT) -> bool:
        """Whether it works during training, and gives no release without it."""
        return False

    def chooses_what_stays(self, options: OptionsT) -> bool:
        """Whether it chooses which weights or channels are kept; its releases then show the choice."""
        kind = self.kind(options)
        return kind == "mask" or (kind == "structure" and self.record != "factors")

    def chooses_blindly(self, options: OptionsT) -> bool:
        """Whether only chance or the initial weights decide what it keeps, so that this reveals nothing of members."""
        return False

    def trains(self, options: OptionsT) -> bool:
        """Whether it runs its own trainings before the release's; the same network without this compressor has none."""
        return False

    def is_done_by_training(self, options: OptionsT) -> bool:
        """Whether only the training that follows reaches the degree; then it must be the last in a chain."""
        return False

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Gives a subclass that compresses in its own way the usual trial, not its parent's."""
        super().__init_subclass__(**kwargs)
        if "compress" in cls.__dict__ and "trial" not in cls.__dict__:
            cls.trial = Compressor.trial  # type: ignore[method-assign]

    def fingerprint(self, options: OptionsT) -> str:
        """Returns anything else that affects the result, such as the hash of a user's source; empty if nothing does."""
        return ""

    def compress(self, model: nn.Module, options: OptionsT, context: CompressionContext) -> Compressed:
        """Compresses `model`, in place or into a new one.

        Args:
            model: the network.
            options: an instance of this compressor's `Options`.
            context: an example input, random numbers, and training if the method needs it.

        Raises:
            UserError: the options do not fit this network.
        """
        raise NotImplementedError

    def trial(self, model: nn.Module, options: OptionsT, context: CompressionContext) -> Compressed:
        """Refuses what `compress` refuses, before any training, on a network with new weights. Default: compresses it.

        A method can skip work that cannot fail. Only the notes and the changed architecture in the result are read.

        Args:
            model: a network with new weights, which may be changed.
            options: as for `compress`.
            context: as for `compress`; its trainings do nothing.

        Raises:
            UserError: as for `compress`.
        """
        return self.compress(model, options, context)

    def constraint(self, state: Mapping[str, Tensor], options: OptionsT) -> Constraint:
        """Returns the constraint on a network that was compressed earlier, from its stored state.

        A release that starts from such a network inherits it.
        """
        from pruneaudit.compression.mask import Masks
        from pruneaudit.compression.state import masks_in, structure_in

        if self.kind(options) != "structure":
            return masks_in(state) or Masks({})
        from pruneaudit.compression.structure import ChangedArchitecture, of_kind

        return ChangedArchitecture(of_kind(structure_in(state), self.record))

    def state(self, compressed: Compressed) -> dict[str, Tensor]:
        """Every released compressed tensor, after the last training; see `compression.state`.

        For a chain, `Chained.state` combines the states of all steps.
        """
        from pruneaudit.compression.state import state_of

        return state_of(compressed.model, [compressed.constraint] if compressed.constraint is not None else [])

    def restore(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The compressed weights by parameter name, bit for bit as they were when the state was taken."""
        from pruneaudit.compression.state import restored

        return restored(state)

    def size(self, state: Mapping[str, Tensor]) -> float:
        """Size of the state in bits: the entropy bound, by one rule for all; see `compression.storage_size`."""
        from pruneaudit.compression.storage_size import state_bits

        return state_bits(state)
