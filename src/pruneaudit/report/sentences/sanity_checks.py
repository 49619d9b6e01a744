"""Sentences that come before any figure: failed checks of attacks and data, networks that did not learn."""

from __future__ import annotations

from pruneaudit.evaluation.data_checks import INPUTS, PLACEBO, data_check, inputs_differ_words
from pruneaudit.evaluation.learned import NOT_LEARNED, not_learned_words
from pruneaudit.evaluation.recorded_checks import failures, warning
from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import base_release
from pruneaudit.report.sentences.networks import networks_of
from pruneaudit.report.words import counted


def distrusted(results: Results) -> tuple[str, ...]:
    """A sentence for each failed check of attacks or data, for the first screen and the terminal."""
    inputs = data_check(results.about, INPUTS)
    said = [inputs_differ_words(inputs)] if inputs and inputs["passed"] is False else []
    said += [warning(label, reason) for label, reason in failures(results.about).items()]
    return tuple(f"{sentence[0].upper()}{sentence[1:]}." for sentence in said)


def data_check_words(results: Results) -> tuple[str, ...]:
    """What the checks of the data found, one sentence for each that was made."""
    inputs, placebo = (data_check(results.about, check) for check in (INPUTS, PLACEBO))
    said = []
    if inputs and inputs["passed"] is not None:
        told = "recognises" if not inputs["passed"] else "does not recognise"
        figure = f"AUC {inputs['auc']:.3f} [{inputs['low']:.3f}, {inputs['high']:.3f}]"
        said.append(f"A classifier that sees only the inputs {told} members: {figure}.")
    if placebo and placebo.get("one_path"):
        said.append("All samples went through one path: members and others were sent to the networks in the same way.")
    elif placebo and placebo["passed"] is not None:
        sent = f"sent as members ({placebo['num_as_members']:,}) and as others ({placebo['num_as_others']:,})"
        told = "do not differ for any attack" if placebo["passed"] else "differ: an attack measures how rows were sent"
        said.append(f"Placebo rows {sent} {told}.")
    return tuple(said)


def unchecked_data_words(results: Results) -> tuple[str, ...]:
    """What is not known of the data, one sentence for each check that was not made; empty for studies."""
    found = ((check, data_check(results.about, check)) for check in _NOT_CHECKED)
    return tuple(
        f"Not checked: whether {_NOT_CHECKED[check]} ({entry['reason']})."
        for check, entry in found
        if entry and entry["passed"] is None
    )


_NOT_CHECKED = {
    INPUTS: "members and others differ before any model looks",
    PLACEBO: "members were sent to the models in the same way as others",
}


def unlearned(results: Results) -> tuple[str, ...]:
    """Says that the base release did not learn, or how many other releases did not; empty where all learned."""
    found = results.about.get(NOT_LEARNED) or {}
    base = base_release(results)
    if base in found:
        return (not_learned_words(networks_of(results, base), found[base]),)
    if found:
        count = "One release" if len(found) == 1 else f"{len(found)} releases"
        return (f"{count} did not learn, or forgot: no more accurate than always naming the most frequent class.",)
    return ()


def checks_words(results: Results) -> str:
    """How many of the run's sanity checks passed."""
    rows = results.about.get("sanity_checks")
    if not rows:
        return "No sanity check of an attack was recorded."
    passed = sum(bool(row["passed"]) for row in rows)
    of_all = "All" if passed == len(rows) else f"{passed} of"
    return f"{of_all} {counted(len(rows), 'sanity check')} passed: the attacks, played where the answer is known."
