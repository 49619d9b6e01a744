"""Translates studies of the first format: the former reserve becomes the holdout or the public part.

`num_reserve` had two uses that exclude each other: samples that influenced models (dev set, `adv`, early stopping), and
samples that no model had seen (RMIA's z, `attack_p`). The translation depends on how a study used it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pruneaudit.core.options import validated
from pruneaudit.study.audit import MATCHED, UNDEFENDED
from pruneaudit.study.data import FORMER_KEY
from pruneaudit.study.former import FORMAT
from pruneaudit.study.parts import SUFFICIENT_HOLDOUT, uses_of
from pruneaudit.study.study import Study

_REFERENCES = {"no-defense": UNDEFENDED, "adaptive": MATCHED}
"""Kinds of references that were renamed."""


def migrated(study: Mapping[str, Any], where: str, num_unused: int = 0) -> dict[str, Any]:
    """Translates a study of the first format to the present one; its networks stay the same.

    If the reserve influenced a model, it becomes the public part, with the same samples, and a holdout of the same size
    is drawn after it from unused rows. Otherwise it becomes the holdout. `pruner` of a release becomes `compress`,
    `audit.knowledge` becomes `audit.references`, and `training.engine` is removed.

    Args:
        study: the parsed file; not modified.
        where: its name, for messages.
        num_unused: number of distinct rows of the source that the study does not use (`rows_left_over`).

    Returns:
        The translated study.

    Raises:
        UserError: something else in the study is wrong.

    Example:
        >>> migrated({"name": "a", "data": {"num_reserve": 500}}, "a.toml")
        {'name': 'a', 'format': 2, 'data': {'num_holdout': 500}}
    """
    first = {key: study[key] for key in ("name", "description") if key in study}
    found: dict[str, Any] = first | {"format": FORMAT} | {key: study[key] for key in study if key != "format"}
    if isinstance(study.get("audit"), Mapping):
        found["audit"] = _with_references(study["audit"])
    if isinstance(study.get("training"), Mapping):
        found["training"] = {key: value for key, value in study["training"].items() if key != "engine"}
    if isinstance(found.get("releases"), list | tuple):
        found["releases"] = [_with_compress(release) for release in found["releases"]]
    data = study.get("data")
    if not isinstance(data, Mapping) or FORMER_KEY not in data:
        return found
    rest, size = {key: value for key, value in data.items() if key != FORMER_KEY}, data[FORMER_KEY]
    as_public = {**found, "data": {**rest, "num_public": size}}
    if not size or not _shapes_a_model(as_public, where):
        return {**found, "data": {**rest, "num_holdout": size}}
    num_holdout = min(num_unused, max(size, SUFFICIENT_HOLDOUT)) if rest.get("num_samples") is not None else 0
    if not num_holdout:
        return as_public
    as_public["data"] |= {"num_holdout": num_holdout, "drawn_first": "public"}
    return as_public


def _with_references(audit: Mapping[str, Any]) -> dict[str, Any]:
    """Renames `knowledge` to `references` in the audit settings."""
    found = {"references" if key == "knowledge" else key: value for key, value in audit.items()}
    if isinstance(kinds := found.get("references"), list | tuple):
        found["references"] = [_REFERENCES.get(str(kind), kind) for kind in kinds]
    return found


def _with_compress(release: Any) -> Any:
    """Renames `pruner` to `compress` in a release."""
    if not isinstance(release, Mapping) or "pruner" not in release or "compress" in release:
        return release
    renamed = {"compress" if key == "pruner" else key: value for key, value in release.items()}
    return {key: value for key, value in renamed.items() if key != "compress" or value is not None}


def _shapes_a_model(study: Mapping[str, Any], where: str) -> bool:
    """Returns whether a study uses its public part."""
    checked = validated(Study, study, where)
    return any(uses_of(checked, release) for release in (None, *checked.releases))
