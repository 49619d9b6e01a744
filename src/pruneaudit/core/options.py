"""Settings: frozen pydantic models whose errors are reported in one line.

`Options` is the base of a study's sections and of every plug-in's options. Nothing here, and no
options class, imports torch.
"""

from __future__ import annotations

import typing
from typing import Any, ClassVar, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from pruneaudit.core.errors import UserError
from pruneaudit.core.registry import nearest

OptionsT = TypeVar("OptionsT", bound="Options")

_IN_A_FILE = {
    "tuple_type": "a list",
    "dict_type": "a table of settings",
    "model_type": "a table of settings",
    "model_attributes_type": "a table of settings",
}
"""The expected value for kinds of pydantic errors, in terms of TOML and JSON."""


class Options(BaseModel):
    """Base of all settings: frozen, unknown keys refused, docstrings of fields kept.

    The constructor, as in `Study(name="mine", ...)`, raises a `UserError` of one line; `model_validate` and related
    methods raise pydantic's `ValidationError`, for callers that inspect its parts.

    Example:
        >>> class Rounds(pruneaudit.Options):
        ...     rounds: int = 3
        >>> Rounds(rounds=5).rounds
        5
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, validate_default=True
    )

    def __init__(self, /, **values: Any) -> None:
        """Checks `values`, key by key.

        Raises:
            UserError: one line with each wrong key, its value, and the expected value.
        """
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise UserError(explain(error, type(self), type(self).__name__)) from None

    # Pydantic itself still checks nested settings, so that it knows the full path of a wrong key.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]


class Configured(Generic[OptionsT]):
    """Base of plug-ins: a subclass names its settings as its type parameter: `class Ppb(Defense[PpbOptions])`."""

    Options: ClassVar[type[Options]] = Options
    """The settings class, from the type parameter; torch-free."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Sets `Options` from the type parameter of the class."""
        super().__init_subclass__(**kwargs)
        parameters = [part for base in cls.__dict__.get("__orig_bases__", ()) for part in typing.get_args(base)]
        for parameter in parameters:
            if isinstance(parameter, type) and issubclass(parameter, Options):
                cls.Options = parameter


def validated(model: type[OptionsT], values: Any, where: str) -> OptionsT:
    """Validates `values` as settings of type `model`.

    Raises:
        UserError: one line with each wrong key under `where`, its value, and the expected value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UserError(explain(error, model, where)) from None


def explain(error: ValidationError, model: type[BaseModel], where: str) -> str:
    """Returns a pydantic error as one line: key, given value, expected value, nearest known key."""
    found = error.errors(include_url=False)
    wrong_items = {details["loc"][:-1] for details in found}  # pydantic also calls a list with a wrong item too short
    real = [details for details in found if details["type"] != "too_short" or details["loc"] not in wrong_items]
    problems = [_problem(dict(details), model) for details in real]
    shown = problems[:3] + ([f"and {len(problems) - 3} more"] if len(problems) > 3 else [])
    return f"{where}: " + "; ".join(shown)


def _problem(details: dict[str, Any], model: type[BaseModel]) -> str:
    location = tuple(details["loc"])
    key = _shortened(".".join(str(part) for part in location)) or "the whole"
    kind, message = details["type"], str(details["msg"])
    if kind == "extra_forbidden":
        known = _known_keys(model, location[:-1])
        return f"unknown key '{key}'{nearest(str(location[-1]), known)}; known keys: {', '.join(known)}"
    if kind == "missing":
        return f"'{key}' is missing"
    if kind == "value_error":
        return (
            f"'{key}': {message.removeprefix('Value error, ')}" if location else message.removeprefix("Value error, ")
        )
    expected = _IN_A_FILE.get(kind) or message.removeprefix("Input should be ")
    given = details.get("input")
    if kind == "tuple_type" and isinstance(given, str):
        expected += f", such as {[given]}"
    return f"'{key}': got {_shortened(repr(given))}, expected: {expected}"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else text[:57] + "..."


def _known_keys(model: type[BaseModel], location: tuple[Any, ...]) -> list[str]:
    """Returns the known keys of the settings at `location`."""
    for part in location:
        if isinstance(part, int) or part not in model.model_fields:
            continue
        inner = _model_within(model.model_fields[part].annotation)
        if inner is None:
            return []
        model = inner
    return sorted(model.model_fields)


def _model_within(annotation: Any) -> type[BaseModel] | None:
    """Returns the settings class inside an annotation such as `tuple[Release, ...]` or `X | None`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in typing.get_args(annotation):
        found = _model_within(argument)
        if found is not None:
            return found
    return None
