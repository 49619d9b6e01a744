"""The limits of a choice: on accuracy, leakage and size of the network.

They are fixed before the search. Limits that contradict each other, or that no network could be shown to keep, are
refused here, before any training.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from pruneaudit.core.amounts import parse_rate, parse_size
from pruneaudit.core.errors import UserError
from pruneaudit.core.options import Options
from pruneaudit.metrics.standard import tpr_column

ACCURACY = "test_accuracy"
AUC = "auc"
Minimize = Literal["bytes", "macs", "leakage"]
_Inside = Annotated[float, Field(gt=0, lt=1)]
_Size = Annotated[int, Field(ge=1)]


class Limits(Options):
    """Limits that a network must keep to be released, and the quantity that decides among several.

    Example:
        >>> limits = pruneaudit.Limits(min_accuracy=0.75, max_tpr={0.01: 0.05}, max_bytes=20_000)
        >>> limits.leakage
        {'tpr_at_1%_fpr': 0.05}
    """

    min_accuracy: _Inside | None = None
    """The lowest mean accuracy on non-members, in (0, 1)."""
    max_tpr: dict[_Inside, _Inside] = Field(default={})
    """The highest true-positive rate at each of these false-positive rates; as a table, or as texts such as
    "1%:0.05"."""
    max_auc: Annotated[float, Field(gt=0.5, lt=1)] | None = None
    """The highest AUC."""
    max_bytes: _Size | None = None
    """The largest size of the compressed network in bytes, for the largest of the confirming models."""
    max_macs: _Size | None = None
    """The most multiply-accumulate operations for one input."""
    minimize: Minimize = "bytes"
    """The quantity to minimise among the networks within the limits: bytes, macs, or leakage (the first limited figure
    of leakage; the AUC if none is limited)."""
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    """Error probability of the certificate: it names a network that breaks a limit at most this often."""

    @field_validator("min_accuracy", "max_auc", mode="before")
    @classmethod
    def _rate(cls, value: Any) -> Any:
        """Texts such as 75%."""
        return parse_rate(value, "a limit") if isinstance(value, str) else value

    @field_validator("max_bytes", "max_macs", mode="before")
    @classmethod
    def _size(cls, value: Any) -> Any:
        """Texts such as 20k."""
        return parse_size(value, "a limit") if isinstance(value, str) else value

    @field_validator("max_tpr", mode="before")
    @classmethod
    def _by_level(cls, value: Any) -> Any:
        """Texts such as 1%:0.05, and keys such as 1%."""
        if isinstance(value, Mapping):
            pairs = [(_rate_of(level), _rate_of(limit)) for level, limit in value.items()]
        elif isinstance(value, str | Iterable):
            pairs = [_level_and_limit(text) for text in ([value] if isinstance(value, str) else value)]
        else:
            return value
        levels = [level for level, _ in pairs]
        twice = next((level for level in levels if levels.count(level) > 1), None)
        if twice is not None:
            raise ValueError(f"got two limits at a false-positive rate of {100 * twice:g}%, expected one")
        return dict(sorted(pairs, key=lambda pair: pair[0]))

    @model_validator(mode="after")
    def _possible(self) -> Limits:
        if self.min_accuracy is None and not self.leakage:
            raise ValueError(
                "got no limit on accuracy or leakage, expected at least one, such as: --min-accuracy 0.75 --max-tpr"
                " 1%:0.05"
            )
        for level, limit in self.max_tpr.items():
            if limit <= level:
                rate = f"{100 * level:g}%"
                raise ValueError(
                    f"max_tpr: got {rate}:{limit:g}, but random guessing finds {rate} of the members at {rate} false"
                    f" positives; expected a limit above {level:g}"
                )
        return self

    @property
    def leakage(self) -> dict[str, float]:
        """The limits of leakage by column: TPRs from the lowest false-positive rate on, then the AUC."""
        found = {tpr_column(level): limit for level, limit in self.max_tpr.items()}
        return found if self.max_auc is None else found | {AUC: self.max_auc}

    @property
    def sizes(self) -> dict[str, int]:
        """The limits of sizes: `bytes`, `macs`."""
        both = {"bytes": self.max_bytes, "macs": self.max_macs}
        return {name: limit for name, limit in both.items() if limit is not None}

    @property
    def ranked_by(self) -> str:
        """The column of leakage that `minimize = "leakage"` minimises: the first limited one, or the AUC."""
        return next(iter(self.leakage), AUC)


def parse_limits(max_tpr: Iterable[str] = (), max_bytes: str | None = None, **others: str | float | None) -> Limits:
    """Limits from the texts of a command line.

    Args:
        max_tpr: texts FPR:LIMIT, such as 1%:0.05.
        max_bytes: a size, such as 20k.
        others: other fields of `Limits`; None for those that were not given. Rates and sizes may be texts.

    Raises:
        UserError: a text is wrong, or the limits contradict each other or are impossible.
    """
    values: dict[str, Any] = {name: value for name, value in others.items() if value is not None}
    for name in ("min_accuracy", "max_auc"):
        if isinstance(values.get(name), str):
            values[name] = parse_rate(values[name], _flag(name))
    if isinstance(values.get("max_macs"), str):
        values["max_macs"] = parse_size(values["max_macs"], _flag("max_macs"))
    if max_bytes is not None:
        values["max_bytes"] = parse_size(max_bytes, _flag("max_bytes"))
    return Limits(max_tpr=[*max_tpr], **values)


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def _rate_of(value: Any) -> Any:
    return parse_rate(value, "max_tpr") if isinstance(value, str) else value


def _level_and_limit(text: Any) -> tuple[float, float]:
    level, colon, limit = str(text).partition(":")
    if not colon:
        raise UserError(f"--max-tpr: got '{text}', expected FPR:LIMIT, such as 1%:0.05")
    return parse_rate(level, "--max-tpr"), parse_rate(limit, "--max-tpr")
