"""The target: your own trained model as the only victim of a study."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from pruneaudit.core.options import Options

PerChannel = tuple[Annotated[float, Field(allow_inf_nan=False)], ...]


class Target(Options):
    """Your own trained model as the only victim of a study; the other models of the bank are its references.

    `model` builds its network, `training` trains the references. Coins fall on the audited samples only: as many
    members as non-members. The target's other members are in the training set of every reference.

    Example:
        >>> study = pruneaudit.Study(name="mine", target={"weights": "prod.pt", "member": "ids.txt"})
        >>> study.membership.num_models
        9
    """

    weights: str = Field(min_length=1)
    """The file with the target's weights: `.safetensors`, or a state dict written by `torch.save`; or a folder with one
    such file."""
    weights_key: str = ""
    """Key of the weights in a checkpoint, such as "state_dict.student"; default: the key that fits."""
    member: str = Field(min_length=1)
    """The file that lists the members, the samples that the target was trained on: `.npy`, `.npz` (array `member`),
    `.csv` or `.txt`. It has one value per row of the source (1 or true: member, 0 or false: non-member), or the row
    numbers of the members, counted from 0. Rows with the value -1, NaN, unknown or none are not used."""
    canaries: str = ""
    """The file of canaries from `pruneaudit canaries make`; the target was trained with the canaries whose coin is 1.
    They give lower bounds on epsilon. Each reference draws its own coins. Default: no canaries."""
    num_references: int = Field(default=8, ge=0, le=256)
    """Number of references to train. More references give stronger attacks; if you raise the number later, the trained
    ones are reused. 0: only attacks without references."""
    mean: PerChannel | None = Field(default=None, min_length=1)
    """Mean to subtract from uint8 images scaled to [0, 1], per channel or one for all; default: the mean of the source.
    Applies to the target and to the references."""
    std: PerChannel | None = Field(default=None, min_length=1)
    """Standard deviation to divide the images by, per channel or one for all; default: the standard deviation of the
    source."""

    @model_validator(mode="after")
    def _normalised_by_both(self) -> Target:
        if (self.mean is None) != (self.std is None):
            given, other = ("mean", "std") if self.std is None else ("std", "mean")
            raise ValueError(f"got {given} without {other}, expected both: give {other} too")
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std: got {min(self.std)}, expected numbers above 0")
        return self
