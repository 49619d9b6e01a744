"""Options for users' networks: how to build and feed them, and which queries to make; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pruneaudit.core.errors import UserError


@dataclass(frozen=True)
class NetworkOptions:
    """Settings for the networks of checkpoints: how to build them, load their weights and feed them.

    Example:
        >>> pruneaudit.NetworkOptions({"width": 4}, mean=[0.5], std=[0.25]).factory_options
        {'width': 4}
    """

    factory_options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the function that builds the network."""
    weights_key: str = ""
    """Key of the weights in a checkpoint, such as "state_dict.student"; default: the key that fits."""
    mean: Sequence[float] | None = None
    """Mean to subtract from uint8 images scaled to [0, 1], per channel or one for all; default: that of the source."""
    std: Sequence[float] | None = None
    """Standard deviation to divide the images by, per channel or one for all; default: that of the source."""

    @property
    def is_normalised_by_user(self) -> bool:
        """Whether mean or std is given."""
        return self.mean is not None or self.std is not None


@dataclass(frozen=True)
class Queries:
    """The queries to every network for every sample, and the other data to collect.

    Raises:
        UserError: fewer than one query.

    Example:
        >>> pruneaudit.Queries(4).count
        4
    """

    count: int = 1
    """Q, the number of queries; those after the first are random crops and flips of an image."""
    sensitivity: bool = False
    """Also collect the sensitivities for the attack `samia`; takes 11 more predictions for every sample."""
    seed: int = 0
    """Seed of augmented queries and of noise."""
    structure: bool = False
    """Also collect which weights and channels each network keeps, for the attack `mask_filter`. Taken from `masks`,
    else from mask files next to the weights, else from the zeros of the weights."""
    masks: Sequence[str | Path] = ()
    """Files of masks, one per model in the order of the weights, or patterns of such files. Each has 0 or 1 for every
    weight, under the parameter's name or that name with torch's ending "_mask". They turn `structure` on."""
    start: str | Path = ""
    """The file of public weights from which all networks were trained. It also collects the input of the attack
    `mask_saliency`, and turns `structure` on."""

    def __post_init__(self) -> None:
        if self.masks or self.start:
            object.__setattr__(self, "structure", True)
        if self.count < 1:
            raise UserError(f"queries: got {self.count}, expected 1 or more")
