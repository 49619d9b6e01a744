"""The path of a search: the candidates of each rung, its models, and the reason for each candidate that left.

Figures of different rungs have different references and are never compared with each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import read_json, write_atomically
from pruneaudit.core.options import Options, validated
from pruneaudit.evaluation.certificate import Candidate, PassedOver
from pruneaudit.evaluation.limits import Limits

FORMAT: Literal[1] = 1
KIND: Literal["pruneaudit search"] = "pruneaudit search"


class Rung(Options):
    """One comparison of candidates on the same models and references."""

    number: int
    """From 0."""
    model_ids: tuple[int, ...]
    """The models of the rung, all from the half that searches."""
    num_references: int
    """References of each model in this rung."""
    candidates: tuple[Candidate, ...]
    """All that entered it, with their figures in this rung."""
    passed_over: tuple[PassedOver, ...] = ()
    """Those that left it, and why."""


class SearchPath(Options):
    """The rungs of a search, in order.

    Example:
        >>> from pruneaudit.evaluation.search_path import SearchPath
        >>> SearchPath(rungs=()).rungs
        ()
    """

    kind: Literal["pruneaudit search"] = KIND
    format: Literal[1] = FORMAT
    identity: str = ""
    """Hash of all that determines the search: study, samples, limits, halves."""
    study: str = ""
    """The study's name."""
    limits: Limits | None = None
    attacks: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    method: str = "grid"
    """grid or optuna."""
    num_candidates: int = 0
    """The size of the space, with the uncompressed network if that is a candidate."""
    rungs: tuple[Rung, ...]
    confirm_model_ids: tuple[int, ...] = ()
    """The models of the half that confirms: none of them is in a rung."""
    listed: tuple[str, ...] = ()
    """The candidates to confirm, in their order."""
    passed_over: tuple[PassedOver, ...] = ()
    """Those of the last rung that are not on the list, and candidates that never entered a rung."""
    naive: str = ""
    """The choice of a search without confirmation: the best by the last rung's own estimates. Empty if all of these
    break a limit."""
    earlier: tuple[str, ...] = ()
    """Identities of other choices that models of this half had confirmed before."""

    @property
    def num_tried(self) -> int:
        """The number of candidates of the first rung."""
        first = self.rungs[:1]
        return sum(len(rung.candidates) for rung in first)

    @property
    def searched(self) -> dict[str, Candidate]:
        """Each candidate with its figures of the last rung that it entered, by name."""
        return {candidate.name: candidate for rung in self.rungs for candidate in rung.candidates}

    @property
    def left(self) -> tuple[PassedOver, ...]:
        """All tried candidates that are not on the list, and why."""
        return (*(one for rung in self.rungs for one in rung.passed_over), *self.passed_over)

    def write(self, path: Path) -> Path:
        """Writes it as JSON; returns after it has reached the disk."""
        return write_atomically(path, self.model_dump_json(indent=1, exclude_none=True) + "\n", flushed=True)

    @classmethod
    def read(cls, path: Path) -> SearchPath:
        """Reads the path of a search.

        Raises:
            UserError: it is none, or of another format.
        """
        try:
            values = read_json(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "not JSON"
            raise UserError(f"{path}: cannot be read ({reason}); expected search.json of `pruneaudit choose`") from None
        if not isinstance(values, Mapping) or values.get("kind") != KIND or values.get("format") != FORMAT:
            raise UserError(f"{path}: expected search.json of `pruneaudit choose`, of format {FORMAT}")
        return validated(cls, values, str(path))
