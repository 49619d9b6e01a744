"""Changes of an architecture as JSON text, and how to repeat them on a freshly built network.

The text is one record, or a list of records in order. The `kind` of a record says what it changes:

| kind | record |
|---|---|
| none given | channels that were removed (`structured.Structure`) |
| `heads`, `units` | heads of attention, or hidden units, that were removed (`units.UnitsRecord`) |
| `factors` | layers that became two of low rank (`factors.FactorsRecord`) |
| `activations` | layers whose inputs are quantised (`activations.ActivationsRecord`) |

After `replay` the state dict of a fresh network has the names and shapes of the saved weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from pruneaudit.compression.compressed import Constraint
from pruneaudit.compression.matrices import whole_matrices
from pruneaudit.core.errors import UserError
from pruneaudit.training.hooks import Hook

CHANNELS, HEADS, UNITS, FACTORS, ACTIVATIONS = "channels", "heads", "units", "factors", "activations"
REMOVALS = (CHANNELS, HEADS, UNITS)
"""The kinds of records that only remove parts of layers: the remaining weights have places in the whole network."""
_REPLAYS = {
    CHANNELS: "pruneaudit.compression.structured:replay",
    HEADS: "pruneaudit.compression.units:replay_units",
    UNITS: "pruneaudit.compression.units:replay_units",
    FACTORS: "pruneaudit.compression.factors:replay_factors",
    ACTIVATIONS: "pruneaudit.compression.activations:replay_activations",
}
"""By kind of record, the function (model, text of one record) -> model that repeats the change."""
_KEPT = {
    CHANNELS: "pruneaudit.compression.structured:kept_whole",
    HEADS: "pruneaudit.compression.units:kept_whole",
    UNITS: "pruneaudit.compression.units:kept_whole",
    FACTORS: "pruneaudit.compression.factors:kept_whole",
}
"""By kind of record, the function (text of one record) -> notes on layers that stay whole."""
_KEPT_BY_WEIGHTS = {FACTORS: "pruneaudit.compression.factors:kept_by_weights"}
"""The same for layers that stay whole because of the values of their weights."""


def replay(model: nn.Module, text: str) -> nn.Module:
    """Repeats changes of an architecture on a freshly built network.

    Args:
        model: of the architecture before the changes, with any weights; changed in place.
        text: the JSON text; empty changes nothing.

    Returns:
        The network with the changed architecture.

    Raises:
        UserError: the text is no such record, or belongs to another architecture.
    """
    for record in records(text):
        model = _replay_of(record)(model, json.dumps(record))
    return model


def kept_whole(text: str, weights_are_final: bool = True) -> tuple[str, ...]:
    """The layers that a change of the architecture had to leave whole, and why: one sentence per reason.

    Args:
        text: the JSON text; empty: nothing was changed.
        weights_are_final: also those that stay whole because of their weights. False after a trial on new weights.
    """
    tables = [_KEPT, _KEPT_BY_WEIGHTS] if weights_are_final else [_KEPT]
    notes: list[str] = []
    for record in records(text):
        for table in tables:
            if kind_of(record) in table:
                notes += _function(table[kind_of(record)])(json.dumps(record))
    return tuple(notes)


class ChangedArchitecture(Constraint):
    """A smaller architecture, of fewer channels, heads or units, or of low rank; no training makes it larger."""

    def __init__(self, structure: str) -> None:
        self.structure = structure

    def hooks(self, model: nn.Module) -> tuple[Hook, ...]:
        """No hooks: the architecture needs none."""
        return ()

    def apply(self, model: nn.Module) -> None:
        """Changes nothing."""

    def state(self, model: nn.Module) -> dict[str, Tensor]:
        """All weight matrices that the network has."""
        return whole_matrices(model)


def records(text: str) -> list[dict[str, Any]]:
    """The changes that a text records, in order; none for an empty text.

    Raises:
        UserError: the text is no JSON object or list of objects.
    """
    if not text:
        return []
    try:
        found = json.loads(text)
    except ValueError as error:
        raise UserError(f"structure: not JSON ({error}); make the release again") from None
    several = found if isinstance(found, list) else [found]
    if not all(isinstance(record, dict) for record in several):
        raise UserError("structure: expected an object or a list of objects; make the release again")
    return several


def kind_of(record: Mapping[str, Any]) -> str:
    """What a record changes."""
    return str(record.get("kind", CHANNELS))


def of_kind(text: str, *kinds: str) -> str:
    """The part of a text whose records have one of these kinds; empty if none has."""
    found = records(text)
    if all(kind_of(record) in kinds for record in found):
        return text  # to the letter, as its hash may be known
    return joined([json.dumps(record) for record in found if kind_of(record) in kinds])


def joined(texts: Sequence[str]) -> str:
    """One text for several changes in order; a single one stays as it is."""
    there = [text for text in texts if text]
    if len(there) < 2:
        return "".join(there)
    return json.dumps([record for text in there for record in records(text)])


def _replay_of(record: Mapping[str, Any]) -> Callable[[nn.Module, str], nn.Module]:
    kind = kind_of(record)
    if kind not in _REPLAYS:
        raise UserError(
            f"structure: got kind '{kind}', expected {', '.join(_REPLAYS)}; read it with the version that wrote it"
        )
    found: Callable[[nn.Module, str], nn.Module] = _function(_REPLAYS[kind])
    return found


def _function(named: str) -> Callable[..., Any]:
    """The function that `module:function` names; these modules import this one."""
    module, _, function = named.partition(":")
    found: Callable[..., Any] = getattr(import_module(module), function)
    return found
