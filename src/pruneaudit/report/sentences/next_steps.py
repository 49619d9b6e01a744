"""Puts the next steps into words, a line for each."""

from __future__ import annotations

from dataclasses import dataclass

from pruneaudit.evaluation.results import Results
from pruneaudit.report.conclusions.changes import has_frontier
from pruneaudit.report.conclusions.next_steps import Kind, Step, next_steps
from pruneaudit.report.selection import given_baseline, reference_free_of, study_of, target_of
from pruneaudit.report.sentences.counts import SLIGHTLY_MORE
from pruneaudit.report.words import counted, first_few, verb


@dataclass(frozen=True)
class StepWords:
    """One step."""

    text: str
    command: str
    """What to type; RUN is the run's folder. Empty without a command."""
    releases: tuple[str, ...] = ()
    """Names that end the sentence."""

    @property
    def whole(self) -> str:
        """As running text."""
        return " ".join(filter(None, (self.text, first_few(self.releases), self.command)))


_WORDS: dict[Kind, tuple[str, str]] = {
    "check the join": (
        "Check how membership was joined to the scores. A reversed sign or swapped ids have this effect.",
        "",
    ),
    "replace the primary attack": (
        "Do not use the figures of the primary attack. Play others on the same networks, without training:",
        "pruneaudit attack RUN --attacks rmia,loss",
    ),
    "train better": ("Repair the training first. Networks that learned nothing have nothing to leak.", ""),
    "read every attack": ("Rely only on conclusions that hold under every attack in the table of findings.", ""),
    "audit a compressed version": (
        "Audit a compressed or defended version of the same networks, to see what that changes.",
        "",
    ),
    "add a defence": ("No release is shown to leak less. Try a defence:", "pruneaudit list defenses"),
    "or add a defence": ("Or try a defence:", "pruneaudit list defenses"),
    "play stronger attacks": (
        "Before you rely on this, play stronger attacks on more samples. The interval limits what this attack finds, "
        "not what a stronger one finds.",
        "pruneaudit list attacks",
    ),
}


def next_step_words(results: Results) -> tuple[StepWords, ...]:
    """What to do next, the most urgent first."""
    return tuple(step_words(results, step) for step in next_steps(results))


def step_words(results: Results, step: Step) -> StepWords:
    """One step in words."""
    if step.kind in _WORDS:
        return StepWords(*_WORDS[step.kind])
    number = step.number
    alone = reference_free_of(results)
    base, whom = given_baseline(results), "the target" if target_of(results) else "every network"
    similar = f" than an undefended network that is {SLIGHTLY_MORE} accurate" if has_frontier(results) else ""
    than = f" than {base}" if base else similar
    scored = (
        " (with a score: with few references, some samples lack references of one kind)" if target_of(results) else ""
    )
    text = {
        "use references": alone.advice if alone else "",
        "choose a release": f"{counted(number, 'release')} {verb(number, 'is', 'are')} shown to leak less{than}. "
        f"Check whether {verb(number, 'its', 'their')} accuracy and size are good enough:",
        "compare at equal accuracy": f"{counted(number, 'release')} {verb(number, 'is', 'are')} shown to leak less, "
        "but not at equal accuracy. To learn whether lost accuracy alone explains it, "
        f"{_weaker(results)}. It should be {SLIGHTLY_MORE} accurate than",
        "choose at lower accuracy": f"Or choose {verb(number, 'it', 'one of them')} as it is, if its accuracy and size "
        "are good enough.",
        "train weaker baselines": f"Train undefended dense networks {_how_weaker(results)}, so that one is "
        f"{SLIGHTLY_MORE} accurate than",
        "train more references": f"Train {number} references: attacks then find more, and the trained ones are reused:",
        "audit more networks": f"Train {number} networks or more: intervals over fewer are rough.",
        "audit more samples": f"Give {whom} {number:,} non-members, to measure low false-positive rates{scored}.",
    }[step.kind]
    more = f"pruneaudit run RUN/study.json --out RUN/.. --set target.num_references={number}"
    return StepWords(text, more if step.kind == "train more references" else "", step.releases)


def _weaker(results: Results) -> str:
    """How to come to an undefended network of lower accuracy."""
    if given_baseline(results):
        return "give the predictions of an undefended network as --baseline"
    anew = "; it is trained from scratch, on your model's members" if target_of(results) else ""
    smaller = "a smaller model" if trains_by_function(results) else "fewer epochs in finetune"
    return f'add an undefended network as a release (parent = "init", {smaller}{anew})'


def _how_weaker(results: Results) -> str:
    return "of a smaller model" if trains_by_function(results) else "for fewer epochs"


def trains_by_function(results: Results) -> bool:
    """Whether the user's own function trains networks from new weights: no release can then change its epochs."""
    study = study_of(results)
    return study is not None and study.training.function is not None
