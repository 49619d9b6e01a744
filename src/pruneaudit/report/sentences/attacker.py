"""Describes the attacker's references, and lists what no attack of the run tests."""

from __future__ import annotations

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.structure import structure_leaks
from pruneaudit.report.selection import given_baseline, num_references, target_of

_NOT_TESTED = (
    "; attackers with labels only and many queries; poisoned training data; users with several samples; "
    "reconstruction, attribute inference and model extraction."
)
_KINDS = {
    "matched": "They had the same compression, defence and training as the victim: the attacker knows the whole "
    "pipeline.",
    "dense": "They had no compression and no defence: the attacker knows only how the dense networks were trained.",
    "undefended": "They had the same compression, and no defence: the attacker does not adapt to the defence.",
}
_KINDS_OF_TARGET = {
    "matched": "They were trained, compressed and defended as this study says: the attacker knows how your model and "
    "its releases were made.",
    "dense": "They had no compression and no defence: the attacker knows only how your model was trained.",
}
_OTHER = "They are the networks of that release."
_KINDS_OF_PREDICTIONS = {
    "matched": "They are networks of the same release as the victim: the others in its file, or the references that "
    "were given for it.",
    "given": "One set serves all releases. It is not stated how these networks were made. If a release was made in "
    "another way, its figures can be too low.",
}
_OTHER_OF_PREDICTIONS = (
    "One set serves all releases: the networks that were given for this one. The attacker does not know how the other "
    "releases were made."
)


def not_tested_words(results: Results) -> str:
    """Which attackers and goals no attack of the run stands for."""
    read = "weights or gradients" if structure_leaks(results) else "weights, gradients or masks"
    return f"attackers with access to {read}{_NOT_TESTED}"


def reference_words(results: Results) -> tuple[tuple[str, str], ...]:
    """Each kind of references that was used, with a sentence on what these networks are; empty without references."""
    if num_references(results) == 0:
        return ()
    kinds = dict.fromkeys(str(kind) for kind in results.findings["references"])
    if given_baseline(results):
        return tuple((kind, _KINDS_OF_PREDICTIONS.get(kind, _OTHER_OF_PREDICTIONS)) for kind in kinds)
    known = _KINDS | (_KINDS_OF_TARGET if target_of(results) else {})
    return tuple((kind, known.get(kind, _OTHER)) for kind in kinds)
