"""The queries of a release's models, and the settings that determine the answers, in addition to model and samples."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pruneaudit.attacks.forgetting import EPOCHS
from pruneaudit.compression.chain import inherited_steps, steps_of
from pruneaudit.study import Release, Study
from pruneaudit.study.parts import num_taken
from pruneaudit.study.training import FineTuning

SIGNALS_SEMANTICS = 1
SENSITIVITY_SEMANTICS = 1
FORGETTING_SEMANTICS = 1
START_SALIENCY_SEMANTICS = 1

FORGOTTEN_FILE = "forgotten.npy"
START_SALIENCY_FILE = "start_saliency.npy"

Asked = Literal["signals", "sensitivity", "forgetting", "start_saliency"]
"""The kinds of queries."""


@dataclass(frozen=True)
class Query:
    """One query of a model."""

    action: Asked
    shape: Mapping[str, Any]
    """The settings that determine its answers, as JSON data."""
    files: tuple[str, ...]
    """The files with the answers."""


def plain_query(seed: int, num_queries: int = 1) -> Query:
    """Returns the query for logits, of each sample and of its augmented views."""
    files = ("logits.npy",) if num_queries == 1 else ("logits.npy", "confidence.npy", "correct.npy")
    shape = {"kind": "signals", "semantics_version": SIGNALS_SEMANTICS, "queries": num_queries, "seed": seed}
    return Query("signals", shape, files)


def queries_of(
    study: Study, described: Release | None, config: Mapping[str, Any], needs: Collection[str]
) -> list[Query]:
    """Returns the queries of the models of one release.

    Args:
        study: the study.
        described: the release; None: the dense bank.
        config: the configuration of its models.
        needs: what attacks need, as far as the study can make it.
    """
    found = [plain_query(study.seed, study.audit.queries)]
    if "sensitivity" in needs:
        shape = {"kind": "sensitivity", "semantics_version": SENSITIVITY_SEMANTICS, "seed": study.seed}
        found.append(Query("sensitivity", shape, ("sensitivity.npy",)))
    if "forgetting" in needs:
        training = FineTuning(epochs=EPOCHS, select="last").over(study.training, "training of forgetting copies")
        shape = {"kind": "forgetting", "semantics_version": FORGETTING_SEMANTICS, "seed": study.seed}
        shape |= {"training": training.identity, "taken": num_taken(study, described)}
        found.append(Query("forgetting", shape, (FORGOTTEN_FILE,)))
    if (
        "start_saliency" in needs
        and "init" in config
        and (shows_what_stays(config) or (described and described.weights))
    ):
        shape = {"kind": "start_saliency", "semantics_version": START_SALIENCY_SEMANTICS, "seed": study.seed}
        found.append(Query("start_saliency", shape | {"init": config["init"]}, (START_SALIENCY_FILE,)))
    return found


def shows_what_stays(config: Mapping[str, Any]) -> bool:
    """Returns whether models with this configuration show which weights or channels were kept."""
    return any(step.chooses_what_stays for step in (*inherited_steps(config), *steps_of(config)))
