"""The facts that a run recorded about itself: data, networks, seeds, versions and checksums, each with its label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FILES = "Files, SHA-256"
"""The label of the files of predictions."""


def run_facts(about: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Label and text of the facts that the run recorded about itself.

    Args:
        about: of its results.
    """
    audit_data = about.get("audit_data") or {}
    report = about.get("release_report")
    measured = report if isinstance(report, Mapping) else {}
    counts = [
        f"{audit_data[key]:,} {words}"
        for key, words in (
            ("num_samples", "audited samples"),
            ("num_canaries", "canaries"),
            ("num_holdout", "held out"),
            ("num_public", "public"),
            ("num_copies", "copies of audited samples"),
            ("num_placebo", "placebo rows"),
            ("num_unknown", "of unknown membership"),
            ("num_kept", "in every training set"),
            ("num_classes", "classes"),
        )
        if isinstance(audit_data.get(key), int)
        and (audit_data[key] or key not in ("num_public", "num_canaries", "num_copies", "num_kept"))
    ]
    facts = [
        # In full here: on a phone the first screen shows only its beginning.
        ("Study", str(about.get("description") or "")),
        ("Data", ", ".join([str(audit_data.get("name") or ""), *counts]).removeprefix(", ")),
        ("Texts", _texts(audit_data.get("tokens"))),
        (FILES, ", ".join(file_checksums(about))),
        ("Audit data, SHA-256", str(audit_data.get("sha256") or "")),
        ("Target", _target(about.get("target"))),
        ("Base", _base(measured.get("base"))),
        ("Adapters", "; ".join(_adapters(measured.get("releases")))),
        ("Networks", "" if about.get("target") else listed_data(about.get("num_models"))),
        ("Probabilities", _probabilities(about.get("probabilities"))),
        ("Seeds", listed_data(about.get("seeds"))),
        ("Versions", listed_data(about.get("versions"))),
        ("Device", listed_data(about.get("device"))),
        ("Created", listed_data(about.get("created"))),
    ]
    return [(label, text) for label, text in facts if text]


def _texts(told: Mapping[str, Any] | None) -> str:
    """The length of texts, and their tokenizer."""
    if not told:
        return ""
    tokenizer = f"; tokenizer, SHA-256 {told['tokenizer_sha256']}" if told["tokenizer_sha256"] else ""
    return (
        f"{told['mean_length']:.1f} tokens on average, cut after {told['max_length']:,} ({told['share_full']:.1%} have"
        f" as many); {told['vocabulary_size']:,} different ids{tokenizer}"
    )


def _target(told: Mapping[str, Any] | None) -> str:
    """The user's own model with its files, and the sizes of the training sets."""
    if not told:
        return ""
    sizes = told.get("reference_members")
    references = (
        f"{told['num_references']} references with {sizes['mean']:,.0f} members on average ({sizes['min']:,} to"
        f" {sizes['max']:,})"
        if sizes
        else "no references"
    )
    files = [f"{release}: {file['name']}, SHA-256 {file['sha256']}" for release, file in told["files"].items()]
    return "; ".join([f"{told['name']} with {told['num_members']:,} members", references, *files])


def _base(told: Mapping[str, Any] | None) -> str:
    """The network that all others started from: what it was trained on, and how accurate it is."""
    if not told:
        return ""
    epochs = f"{told['epochs']:,} epoch{'s' if told['epochs'] != 1 else ''}"
    head = ", and drew heads of their own" if told["head"] == "new" else ""
    return (
        f"all networks started from one trained on {told['num_samples']:,} public samples ({epochs}){head}; its"
        f" accuracy is {told['train_accuracy']:.1%} there and {told['test_accuracy']:.1%} on all other samples; it "
        f"saw no audited sample, so it reveals nothing about members and costs no epsilon"
    )


def _adapters(entries: Any) -> list[str]:
    """The releases whose training changed only thin matrices and the head, and how large these are."""
    return [
        f"{entry['name']}: LoRA of rank {told['r']} on {told['layers']:,} layers, {told['parameters']:,} trained"
        f" weights with the head, a file of {told['bytes']:,} bytes; merged into the network"
        for entry in (entries if isinstance(entries, list) else ())
        if isinstance(entry, Mapping) and (told := entry.get("adapter"))
    ]


def file_checksums(about: Mapping[str, Any]) -> tuple[str, ...]:
    """The files of predictions of several releases, each with its checksum; empty for other results.

    Args:
        about: of the results.
    """
    return tuple(
        f"{f'references {name}'.rstrip() if what == 'references' else name}: {file['name']} {file['sha256']}"
        for what, files in (about.get("files") or {}).items()
        for name, file in files.items()
    )


def _probabilities(told: Mapping[str, Any] | None) -> str:
    """The resolution of the probabilities, if they were given instead of logits."""
    if not told:
        return ""
    steps = dict.fromkeys([f"{told['resolution_at_0']:.3g}", f"{told['resolution_at_1']:.3g}"])
    text = f"given instead of logits; resolution {' next to 0, '.join(steps)}{' next to 1' if len(steps) > 1 else ''}"
    text += f"; {told['floored']:.1%} of the labels' count as half of it away from 0 or 1"
    if "lira" in told:
        text += f"; {told['lira']}: AUC {told['lira_auc']:.3f}, with a twentieth {told['lira_auc_finer']:.3f}"
    return text


def listed_data(value: Any) -> str:
    """JSON data in one line: `a 1, b 2` for an object, `1, 2` for a list.

    Args:
        value: None is empty.
    """
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {listed_data(item)}".rstrip() for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(listed_data(item) for item in value)
    return str(value)
