"""Plug-ins as a study names them: {name, options}, or a text."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator, model_validator

from pruneaudit.core.options import Options
from pruneaudit.core.settings_file import scalar
from pruneaudit.study.user_function import NAMES_FUNCTION, function_name_of

_COLON = re.compile(r"(?<!\d):|:(?!\s*\d+\s*(?::|$))")
"""The colon between two options; not the one within a value such as 2:4."""


class Plugin(Options):
    """One plug-in and its options."""

    name: str
    """Its registered name."""
    options: dict[str, Any] = Field(default={})
    """Its options, as declared by the `Options` class of the plug-in."""

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return cls.parse(value) if isinstance(value, str) else value

    @field_validator("options")
    @classmethod
    def _one_number_one_form(cls, options: dict[str, Any]) -> dict[str, Any]:
        """Converts 4.0 to 4, so that equal values give equal labels and names."""
        return {
            key: int(value) if isinstance(value, float) and value.is_integer() else value
            for key, value in options.items()
        }

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """Parses `name:key=value:key=value` into {name, options}; a value such as 2:4 keeps its colon."""
        name, *pairs = _COLON.split(text)
        wrong = [pair for pair in pairs if "=" not in pair]
        if wrong:
            raise ValueError(f"got '{text}', expected name:key=value ('{wrong[0]}' has no '=')")
        return {
            "name": name.strip(),
            "options": {key.strip(): scalar(text) for key, text in (p.split("=", 1) for p in pairs)},
        }

    @property
    def label(self) -> str:
        """The plug-in as a text: its name, then the given options."""
        return ":".join([self.name, *(f"{key}={value}" for key, value in sorted(self.options.items()))])


class Source(Plugin):
    """A data source; in its text form a path follows the first colon (`npz:FILE`)."""

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """Parses `name` or `name:PATH` into {name, options}."""
        name, colon, path = text.partition(":")
        return {"name": name, "options": {"path": path} if colon else {}}


def as_network(given: Any) -> Any:
    """Converts `package.module:function`, or the function itself, to the model `factory` with that target."""
    named = function_name_of(given)
    if isinstance(named, str) and re.fullmatch(NAMES_FUNCTION, named):
        return {"name": "factory", "options": {"target": named}}
    return given


Network = Annotated[Plugin, BeforeValidator(as_network)]
"""A model, or a user's function that makes one."""
