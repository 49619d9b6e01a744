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
_SOURCE_OPTION = r"[a-z][a-z_]*=.*"
"""An option of a source, after its path."""
_OPTION_AND_NO_PATH = r"[a-z][a-z_]*=[^./\\]+"


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
    """A data source; in its text form a path follows the first colon (`npz:FILE`), then options can follow."""

    @classmethod
    def parse(cls, text: str) -> dict[str, Any]:
        """Parses `name`, `name:PATH`, `name:key=value` or `name:PATH:key=value` into {name, options}.

        The first part is a path if its value holds a dot or a slash (`npz:x=1.npz`).
        """
        name, *parts = text.split(":")
        pairs: list[tuple[str, str]] = []
        while parts and re.fullmatch(_SOURCE_OPTION if len(parts) > 1 else _OPTION_AND_NO_PATH, parts[-1]):
            key, _, value = parts.pop().partition("=")
            pairs.insert(0, (key, value))
        options = {"path": ":".join(parts)} if parts else {}
        return {"name": name, "options": options | {key: scalar(value) for key, value in pairs}}


def as_network(given: Any) -> Any:
    """Converts `package.module:function`, or the function itself, to the model `factory` with that target."""
    named = function_name_of(given)
    if isinstance(named, str) and re.fullmatch(NAMES_FUNCTION, named):
        return {"name": "factory", "options": {"target": named}}
    return given


Network = Annotated[Plugin, BeforeValidator(as_network)]
"""A model, or a user's function that makes one."""
