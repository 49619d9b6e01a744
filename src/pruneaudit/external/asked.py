"""What a user says of networks beside their files: how they are made and fed, and what they are asked; torch-free."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pruneaudit.core.errors import UserError


@dataclass(frozen=True)
class NetworkOptions:
    """How the networks of checkpoints are made, filled and fed.

    Example:
        >>> pruneaudit.NetworkOptions({"width": 4}, mean=[0.5], std=[0.25]).factory_options
        {'width': 4}
    """

    factory_options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the function that makes the network."""
    weights_key: str = ""
    """Where the weights lie in a checkpoint, such as "state_dict.student"; default: what fits."""
    mean: Sequence[float] | None = None
    """Per channel (or one for all), what uint8 images are centred on, in units of [0, 1]; default: the source's."""
    std: Sequence[float] | None = None
    """Per channel (or one for all), what they are then divided by; default: the source's."""

    @property
    def is_normalised_by_user(self) -> bool:
        """Whether mean or std were given."""
        return self.mean is not None or self.std is not None


@dataclass(frozen=True)
class Queries:
    """What every network is asked about every sample.

    Raises:
        UserError: fewer than one query.

    Example:
        >>> pruneaudit.Queries(4).count
        4
    """

    count: int = 1
    """Q; above 1, images are also asked about cropped and flipped at random."""
    sensitivity: bool = False
    """Collect what the attack `samia` needs; 11 further predictions of every sample."""
    seed: int = 0
    """Of augmented queries and of noise."""

    def __post_init__(self) -> None:
        if self.count < 1:
            raise UserError(f"queries: got {self.count}, expected 1 or more")
