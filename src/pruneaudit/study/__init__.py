"""A study: everything that is asked, from the data to the report, in one frozen description.

Read from TOML or JSON, validated once, then never changed. A plug-in (data source, model, pruner,
attack) is named here as {name, options}; whether those options are right is checked by
`engine/plan.py`, which knows the plug-ins. Where a plug-in is asked for, a text serves too:
`"tinycnn"`, `"lira:mode=offline"`, `"npz:FILE"`.
"""

from pruneaudit.study.audit import Audit
from pruneaudit.study.data import Data, Membership
from pruneaudit.study.plugins import Plugin, Source
from pruneaudit.study.reference import settings_reference
from pruneaudit.study.releases import DENSE, INIT, Name, Origin, Release
from pruneaudit.study.study import Study
from pruneaudit.study.training import FineTuning, Training

__all__ = [
    "DENSE",
    "INIT",
    "Audit",
    "Data",
    "FineTuning",
    "Membership",
    "Name",
    "Origin",
    "Plugin",
    "Release",
    "Source",
    "Study",
    "Training",
    "settings_reference",
]
