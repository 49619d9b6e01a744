"""Plug-ins as a study names them: {name, options}, or a text."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pruneaudit.core.options import Options
from pruneaudit.core.settings_file import scalar
from pruneaudit.study.target import TARGET, target_of


class Plugin(Options):
    """One plug-in and its options."""

    name: str
    """Its registered name."""
    options: dict[str, Any] = Field(default={})
    """Its options; the plug-in's own `Options` class says which there are."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return cls.parse(value) if isinstance(value, str) else value

    @field_validator("options")
    @classmethod
    def _one_number_one_form(cls, options: dict[str, Any]) -> dict[str, Any]:
        """4.0 is 4: labels, and the names made of them, are the same for the same value."""
        return {
            key: int(value) if isinstance(value, float) and value.is_integer() else value
            for key, value in options.items()
        }

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """`name:key=value:key=value` as {name, options}."""
        name, *pairs = text.split(":")
        wrong = [pair for pair in pairs if "=" not in pair]
        if wrong:
            raise ValueError(f"got '{text}', expected name:key=value ('{wrong[0]}' has no '=')")
        return {
            "name": name.strip(),
            "options": {key.strip(): scalar(text) for key, text in (p.split("=", 1) for p in pairs)},
        }

    @property
    def label(self) -> str:
        """The plug-in as a text: its name, then the options that were given."""
        return ":".join([self.name, *(f"{key}={value}" for key, value in sorted(self.options.items()))])


class Source(Plugin):
    """A data source; as a text, what follows the first colon is a path (`npz:FILE`)."""

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """`name` or `name:PATH` as {name, options}."""
        name, colon, path = text.partition(":")
        return {"name": name, "options": {"path": path} if colon else {}}


def as_network(given: Any) -> Any:
    """`package.module:function`, or the function itself, as the model `factory` with that target."""
    named = target_of(given)
    if isinstance(named, str) and re.fullmatch(TARGET, named):
        return {"name": "factory", "options": {"target": named}}
    return given


Network = Annotated[Plugin, BeforeValidator(as_network)]
"""A model; a function of the user's that makes one may stand in its place."""
