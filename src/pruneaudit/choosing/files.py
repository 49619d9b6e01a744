"""The files of a choice in a run folder: the search, sealed before the confirmation begins, and the certificate."""

from __future__ import annotations

from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.core.files import SEALED_FILES, check_sealed, seal_files, write_atomically, writing
from pruneaudit.evaluation.certificate import Certificate
from pruneaudit.evaluation.search_path import SearchPath

CHOICE = "choice"
"""The subfolder of a run."""
SEARCH_FILE = "search.json"
CERTIFICATE_FILE = "certificate.json"
TEXT_FILE = "certificate.md"
PAGE_FILE = "certificate.html"
UNKNOWN = "unknown"
"""The identity of an earlier choice whose search cannot be read."""


class ChoiceFolder:
    """The files of a choice."""

    def __init__(self, run: Path) -> None:
        """Describes the folder, which need not exist.

        Args:
            run: the folder of the run.
        """
        self.path = run / CHOICE

    @property
    def is_begun(self) -> bool:
        """Whether there is a search."""
        return (self.path / SEARCH_FILE).exists()

    def problems(self) -> dict[str, str]:
        """Returns the problem of each sealed file, and of the seal, by its place in the run folder."""
        return {f"{CHOICE}/{name}": problem for name, problem in check_sealed(self.path).items()}

    def search(self) -> SearchPath | None:
        """Returns the search, if its file is unchanged since it was sealed; None without one of this version."""
        return self._any_search() if self._is_intact(SEARCH_FILE) else None

    def certificate(self) -> Certificate | None:
        """Returns the certificate, if its file is unchanged since it was sealed; None without one of this version."""
        try:
            return Certificate.read(self.path / CERTIFICATE_FILE) if self._is_intact(CERTIFICATE_FILE) else None
        except UserError:
            return None

    def earlier(self, identity: str) -> tuple[str, ...]:
        """Returns the identities of other choices that were confirmed in this folder.

        Args:
            identity: the identity of the present one.
        """
        before, was_confirmed = self._any_search(), (self.path / CERTIFICATE_FILE).exists()
        if before is None:
            return (UNKNOWN,) if was_confirmed else ()
        names = (*before.earlier, before.identity) if was_confirmed else before.earlier
        return tuple(dict.fromkeys(name for name in names if name != identity))

    def checked_certificate(self) -> Certificate:
        """Returns the certificate.

        Raises:
            UserError: there is none, or it has changed.
        """
        file = self.path / CERTIFICATE_FILE
        if not file.exists():
            raise UserError(f"{file}: no such file; make it with: pruneaudit choose STUDY.toml")
        found = self.certificate()
        if found is None:
            raise UserError(f"{file}: has changed since it was written; choose again: pruneaudit choose STUDY.toml")
        return found

    def keep_search(self, path: SearchPath) -> None:
        """Writes and seals a search; a certificate of another search goes."""
        with writing(self.path, begun=True):
            self.path.mkdir(exist_ok=True)
            for name in (SEALED_FILES, CERTIFICATE_FILE, TEXT_FILE, PAGE_FILE):
                (self.path / name).unlink(missing_ok=True)
            path.write(self.path / SEARCH_FILE)
            seal_files(self.path, [SEARCH_FILE])

    def keep_certificate(self, certificate: Certificate, text: str, page: str) -> None:
        """Writes a certificate as JSON, as Markdown and as a page, and seals all files."""
        with writing(self.path, begun=True):
            certificate.write(self.path / CERTIFICATE_FILE)
            write_atomically(self.path / TEXT_FILE, text)
            write_atomically(self.path / PAGE_FILE, page)
            seal_files(self.path, [SEARCH_FILE, CERTIFICATE_FILE, TEXT_FILE, PAGE_FILE])

    def _any_search(self) -> SearchPath | None:
        """Returns the search, sealed or not; None if there is none that can be read."""
        try:
            return SearchPath.read(self.path / SEARCH_FILE)
        except UserError:
            return None

    def _is_intact(self, name: str) -> bool:
        problems = check_sealed(self.path, [name])
        return not problems[SEALED_FILES] and not problems.get(name)
