"""Certificates: the candidates that were shown to keep all limits, on models that the search never touched.

Learn then test (Angelopoulos et al. 2021, arXiv 2110.01052). The search fixes a list and its order; other models then
give each candidate a p-value, the largest over all its limits: "breaks at least one of them". Fixed-sequence testing at
alpha goes through the list until the first failure. All candidates before it are certified together: the probability
that any of them breaks a limit is at most alpha. Without an order, Holm's procedure does the same.

The chosen network is the certified one with the least of what `Limits.minimize` says. This choice needs no correction,
because the statement is about all certified networks together. The bounds of single figures are valid one at a time.

Deviation: the paper's p-values (Hoeffding-Bentkus) need many independent units. Here these are a few models, so
p-values are of the t form, and approximate; `docs/statistics.md` has the simulations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_json, write_atomically
from pruneaudit.core.options import Options, validated
from pruneaudit.evaluation.limit_test import LimitTest, follows
from pruneaudit.evaluation.limits import Limits
from pruneaudit.metrics.multiple import holm_adjusted

FORMAT: Literal[1] = 1
KIND: Literal["pruneaudit certificate"] = "pruneaudit certificate"
FIXED_SEQUENCE, HOLM = "fixed sequence", "holm"
Outcome = Literal["chosen", "certified", "failed", "not tested", "too large"]


class Candidate(Options):
    """One network of the space, with its figures on one half of the models."""

    name: str
    """The name of its release."""
    description: str = ""
    """How it is made, such as `l1unstructured:sparsity=0.7`."""
    tests: tuple[LimitTest, ...] = ()
    """Accuracy first, then leakage attack by attack."""
    bytes: float | None = None
    """Compressed bytes of the largest of the models."""
    macs: float | None = None
    """Multiply-accumulates of one input, of the largest of the models."""
    leakage: float | None = None
    """The search half's figure of `Limits.ranked_by`, the largest over attacks: what `minimize = "leakage"` compares.
    Not from the confirming half: there, the smallest of several values is too small by chance."""

    @property
    def p_value(self) -> float:
        """Of "breaks at least one limit": the largest p-value of its limits; 1 without any."""
        return max((test.p_value for test in self.tests if test.p_value is not None), default=1.0)

    @property
    def decisive(self) -> LimitTest | None:
        """The test with the largest p-value, the first of equals."""
        limited = [test for test in self.tests if test.p_value is not None]
        return max(limited, key=lambda test: test.p_value or 0.0, default=None)

    def exceeded(self, limits: Limits) -> str:
        """The size, `bytes` or `macs`, whose limit it exceeds; empty if it exceeds none. An unknown size exceeds."""
        for name, limit in limits.sizes.items():
            size = getattr(self, name)
            if size is None or size > limit:
                return name
        return ""

    def cost(self, limits: Limits) -> float:
        """What is to be small; infinite if unknown."""
        found = getattr(self, limits.minimize)
        return float("inf") if found is None else float(found)


class Judged(Options):
    """A candidate of the list, and what the confirmation said of it."""

    candidate: Candidate
    """With its figures on the confirmation half; without tests if it was not tested."""
    outcome: Outcome
    """chosen; certified, but another one is better; failed: p above alpha; not tested, as an earlier one failed; too
    large."""
    p_value: float | None = None
    """The p-value that was compared with alpha, Holm's adjusted one without an order; None if it was not tested."""


class PassedOver(Options):
    """A candidate of the space that is not on the list, and why."""

    name: str
    description: str = ""
    why: Literal["accuracy", "leakage", "raced out", "halved", "better one", "too large", "many", "failed"]
    """accuracy, leakage: the search's figure breaks a limit. raced out: clearly worse than the best of its rung.
    halved: not in the better part of its rung. better one: another candidate of the list is at least as safe, and
    better. many: the list was full. failed: it could not be made."""
    rung: int | None = None
    """The rung of the search, from 0."""
    figure: str = ""
    value: float | None = None
    """The search's value of the figure."""
    limit: float | None = None
    against: str = ""
    """The other candidate: that raced it out, or that is better."""
    difference: float | None = None
    """Raced out: its figure minus that of `against`, paired."""
    bound: float | None = None
    """Raced out: the one-sided lower bound of that difference, above 0."""
    attack: str = ""
    detail: str = ""
    """A reason in words, such as why it could not be made."""


class Scope(Options):
    """What a certificate is about."""

    study: str
    """The study's name."""
    study_hash: str = ""
    version: str = ""
    """The program's version."""
    attacks: tuple[str, ...] = ()
    """The attacks, fixed before the search."""
    references: tuple[str, ...] = ("matched",)
    """The kinds of references."""
    num_search_models: int
    num_confirm_models: int
    """The models that confirm; 1 with a target."""
    num_references: int
    """References of each model on the confirmation half."""
    num_samples: int
    """The audited samples, the same on both halves."""
    num_candidates: int
    """The size of the space, as far as it was searched."""
    is_target: bool = False
    """Whether it is about one given model, rather than about new models of a recipe."""
    num_earlier: int = 0
    """Number of earlier choices that were confirmed on the same models; the error probability is valid for one choice
    only."""


class Certificate(Options):
    """What was shown, about which networks, and what was not."""

    kind: Literal["pruneaudit certificate"] = KIND
    format: Literal[1] = FORMAT
    limits: Limits
    scope: Scope
    procedure: Literal["fixed sequence", "holm"]
    judged: tuple[Judged, ...]
    """The list, in the order of the search."""
    passed_over: tuple[PassedOver, ...] = ()
    """All other candidates of the space."""

    @property
    def chosen(self) -> Candidate | None:
        """The network to release; None if none was certified."""
        return next((one.candidate for one in self.judged if one.outcome == "chosen"), None)

    @property
    def certified(self) -> tuple[Candidate, ...]:
        """All certified candidates, the chosen one among them, in the order of the list."""
        return tuple(one.candidate for one in self.judged if one.outcome in ("chosen", "certified"))

    def write(self, path: Path) -> Path:
        """Writes it as JSON."""
        return write_atomically(path, self.model_dump_json(indent=2, exclude_none=True) + "\n")

    @classmethod
    def read(cls, path: Path) -> Certificate:
        """Reads a certificate, and decides anew from its figures.

        Raises:
            UserError: it is no certificate, or of another format, or its outcomes do not follow from its figures.
        """
        try:
            values = read_json(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not JSON"
            raise UserError(
                f"{path}: cannot be read ({reason}); expected a certificate of `pruneaudit choose`"
            ) from None
        if not isinstance(values, Mapping) or values.get("kind") != KIND:
            raise UserError(f"{path}: not a certificate; expected certificate.json of `pruneaudit choose`")
        if values.get("format") != FORMAT:
            raise UserError(
                f"{path}: a certificate of format {values.get('format')}, expected {FORMAT}; read it with the version"
                " that wrote it"
            )
        found = validated(cls, values, str(path))
        again = _judged([one.candidate for one in found.judged], found.limits, found.procedure == FIXED_SEQUENCE)
        tests = [test for one in found.judged for test in one.candidate.tests]
        if again != found.judged or not all(follows(test, found.limits.alpha) for test in tests):
            raise UserError(f"{path}: its outcomes do not follow from its figures: it was changed; choose again")
        return found


def certify(
    candidates: Sequence[Candidate],
    limits: Limits,
    scope: Scope,
    ordered: bool = True,
    passed_over: Sequence[PassedOver] = (),
) -> Certificate:
    """Decides which candidates keep all limits.

    Args:
        candidates: the list in its order, with figures from the confirmation half. Candidates after the first failure
            can be without tests.
        limits: fixed before the search.
        scope: what the certificate is about.
        ordered: whether the search fixed an order; if not, Holm's procedure needs the tests of all.
        passed_over: the other candidates of the space.
    """
    return Certificate(
        limits=limits,
        scope=scope,
        procedure=FIXED_SEQUENCE if ordered else HOLM,
        judged=_judged(candidates, limits, ordered),
        passed_over=tuple(passed_over),
    )


def _judged(candidates: Sequence[Candidate], limits: Limits, ordered: bool) -> tuple[Judged, ...]:
    small = [index for index, candidate in enumerate(candidates) if not candidate.exceeded(limits)]
    p_values = [candidates[index].p_value for index in small]
    decided: dict[int, tuple[Outcome, float | None]] = {}
    is_over = False
    for index, p_value in zip(small, p_values if ordered else holm_adjusted(p_values), strict=True):
        if is_over:
            decided[index] = "not tested", None
            continue
        decided[index] = "certified" if p_value <= limits.alpha else "failed", float(p_value)
        is_over = ordered and p_value > limits.alpha
    certified = [index for index, (outcome, _) in decided.items() if outcome == "certified"]
    if certified:
        best = min(certified, key=lambda index: (candidates[index].cost(limits), index))
        decided[best] = "chosen", decided[best][1]
    too_large: tuple[Outcome, float | None] = ("too large", None)
    return tuple(
        Judged(candidate=candidate, outcome=outcome, p_value=p_value)
        for candidate, (outcome, p_value) in (
            (candidate, decided.get(index, too_large)) for index, candidate in enumerate(candidates)
        )
    )
