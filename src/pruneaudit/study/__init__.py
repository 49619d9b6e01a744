"""A study: one frozen description of a whole audit, from the data to the report.

It is read from TOML or JSON, validated once, and then never changes. A plug-in (data source, model, compressor, attack)
is named as {name, options}; `engine/plan.py`, which knows the plug-ins, checks the options. A plug-in can also be given
as a text: `"tinycnn"`, `"lira:mode=offline"`, `"npz:FILE"`.
"""

from pruneaudit.study.audit import Audit
from pruneaudit.study.base import Base
from pruneaudit.study.choose import Choose
from pruneaudit.study.data import Data, Membership
from pruneaudit.study.plugins import Plugin, Source
from pruneaudit.study.reference import settings_reference
from pruneaudit.study.releases import DENSE, INIT, Name, Origin, Release
from pruneaudit.study.study import Study
from pruneaudit.study.target import Target
from pruneaudit.study.training import FineTuning, Training

__all__ = [
    "DENSE",
    "INIT",
    "Audit",
    "Base",
    "Choose",
    "Data",
    "FineTuning",
    "Membership",
    "Name",
    "Origin",
    "Plugin",
    "Release",
    "Source",
    "Study",
    "Target",
    "Training",
    "settings_reference",
]
