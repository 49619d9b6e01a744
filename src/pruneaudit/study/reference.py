"""Lists all settings of a study, from the docstrings of their fields."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from pruneaudit.study.audit import Audit
from pruneaudit.study.base import Base
from pruneaudit.study.choose import Choose
from pruneaudit.study.data import Data, Membership
from pruneaudit.study.lora import Lora
from pruneaudit.study.releases import Release
from pruneaudit.study.study import Study
from pruneaudit.study.target import Target
from pruneaudit.study.training import FineTuning, Training

SECTIONS: dict[str, type[BaseModel]] = {
    "": Study,
    "data": Data,
    "membership": Membership,
    "training": Training,
    "training.lora": Lora,
    "base": Base,
    "target": Target,
    "releases[]": Release,
    "releases[].finetune": FineTuning,
    "audit": Audit,
    "choose": Choose,
}


class Setting(NamedTuple):
    """One setting."""

    key: str
    """Its key for `--set`, such as `membership.protocol`; for releases `releases[].compress`."""
    default: str
    """Its default; `required` if there is none."""
    meaning: str


def settings_reference() -> list[Setting]:
    """Returns every setting of a study, section by section."""
    return [setting for section, model in SECTIONS.items() for setting in _settings(section, model)]


def _settings(section: str, model: type[BaseModel]) -> Iterator[Setting]:
    for name, field in model.model_fields.items():
        key = f"{section}.{name}" if section else name
        if key in SECTIONS or f"{key}[]" in SECTIONS:
            continue
        default = "required" if field.default is PydanticUndefined else _written(field.default)
        yield Setting(key, default, " ".join((field.description or "").split()))


def _written(default: object) -> str:
    if isinstance(default, BaseModel):
        return str(getattr(default, "label", default))
    if isinstance(default, tuple):
        return "[" + ", ".join(_written(item) for item in default) + "]"
    return "none" if default is None else repr(default) if isinstance(default, str) else str(default).lower()
