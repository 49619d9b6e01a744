"""The published claims: what each says, where it was published, and which kind of change it is about.

Which releases of a run decide is chosen in `comparisons.py`, for a *question*: several claims can answer one question,
such as "pruning increases leakage" and "pruning decreases it". All were written down before any result.
"""

from __future__ import annotations

from dataclasses import dataclass

from pruneaudit.claims.rule import Kind

DECIDING_ATTACK = "lira"
OTHER_ATTACKS = ("rmia", "loss", "modified_entropy")
"""Attacks whose verdicts stand beside that of the deciding one."""
INTERVALS = {
    "pruning": 2,
    "one more": 2,
    "several": 2,
    "precision": 2,
    "distillation": 2,
    "ppb": 1,
    "relaxloss": 1,
}
"""How many intervals give verdicts, by question: the deciding one, and one more."""


@dataclass(frozen=True)
class Paper:
    """A publication."""

    name: str
    """Short name, with venue and year where there is one."""
    arxiv: str = ""

    @property
    def cited(self) -> str:
        """The name, with the arXiv id."""
        return f"{self.name}, arXiv:{self.arxiv}" if self.arxiv else self.name


@dataclass(frozen=True)
class Claim:
    """A published claim."""

    name: str
    says: str
    """A sentence."""
    kind: Kind
    question: str
    """The question that it answers: a key of `INTERVALS`."""
    papers: tuple[Paper, ...]
    page: str
    """The page of the documentation, without its ending."""


_YUAN = Paper("Yuan and Zhang, USENIX Security 2022", "2202.03335")
_WEMEM = Paper("WeMem, NDSS 2025")
_WANG = Paper("Wang et al. 2020", "2008.13578")
_BAGMAR = Paper("Bagmar et al. 2021", "2108.03506")
_COMPLEAK = Paper("CompLeak, USENIX Security 2026", "2507.16872")
_BITS = Paper("Post-training quantisation, 2025", "2512.15335")
_STUDENTS = Paper("Jagielski et al. 2023", "2303.03446")
_RELAXLOSS = Paper("Chen et al., ICLR 2022", "2207.05801")

SEVERAL = "several-releases"
CLAIMS = (
    Claim("1a", "Pruning increases leakage.", "increase", "pruning", (_YUAN, _WEMEM), "pruning"),
    Claim("1b", "Pruning decreases leakage.", "decrease", "pruning", (_WANG,), "pruning"),
    Claim("1c", "Pruning changes leakage little.", "no change", "pruning", (_BAGMAR,), "pruning"),
    Claim(
        "2a",
        "A compressed release beside the dense one gives more away.",
        "increase",
        "one more",
        (_COMPLEAK,),
        SEVERAL,
    ),
    Claim(
        "2b",
        "Several compressed releases beside the dense one give more away.",
        "increase",
        "several",
        (_COMPLEAK,),
        SEVERAL,
    ),
    Claim("3", "Lower precision leaks less.", "decrease", "precision", (_BITS,), "precision"),
    Claim("4", "Distillation protects little.", "half", "distillation", (_STUDENTS,), "distillation"),
    Claim("5a", "PPB protects at equal accuracy.", "decrease", "ppb", (_YUAN,), "defences"),
    Claim("5b", "RelaxLoss protects at equal accuracy.", "decrease", "relaxloss", (_RELAXLOSS,), "defences"),
)


def num_intervals(num_runs: int) -> int:
    """How many intervals give verdicts, over all questions and runs; questions that a run cannot answer count too.

    Args:
        num_runs: how many runs are judged together.

    Example:
        >>> num_intervals(2)
        24
    """
    return num_runs * sum(INTERVALS.values())
