"""The files of published texts: their places and checksums."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pruneaudit.core.errors import UserError
from pruneaudit.data.download import RemoteFile, obtain, readable_bytes, trust, verify
from pruneaudit.data.source import default_data_root


@dataclass(frozen=True)
class TextFiles:
    """One published data set of some files."""

    name: str
    """The name of the source, and of its folder among the data sets."""
    title: str
    page: str
    files: Sequence[RemoteFile]

    def found(self, path: Path | None, data_root: Path | None) -> list[Path]:
        """Returns the files, downloaded if necessary; their checksums match.

        Args:
            path: the user's folder with the files; None: the folder of the source under `data_root`.
            data_root: the folder of data sets; None: `default_data_root()`.

        Raises:
            UserError: a file is missing, cannot be downloaded, or is another one.
        """
        if path is None:
            return obtain(self.files, self._folder(data_root), self.title)
        folder = path.expanduser()
        absent = [file.name for file in self.files if not (folder / file.name).is_file()]
        if absent:
            raise UserError(
                f"{self.title}: no {absent[0]} in {path}; put {' and '.join(file.name for file in self.files)}"
                f" ({self.page}) there, or leave the path out"
            )
        for file in self.files:
            verify(folder / file.name, file, record=False)
        return [folder / file.name for file in self.files]

    def whereabouts(self, data_root: Path | None) -> str:
        """Returns the page, the size, and the folder of a local copy."""
        folder = self._folder(data_root)
        about = f"{self.page}; {readable_bytes(sum(file.num_bytes or 0 for file in self.files))}; "
        if not all((folder / file.name).is_file() for file in self.files):
            return about + "not downloaded"
        return about + f"found: {folder} ({trust(folder / self.files[0].name, self.files[0])})"

    def _folder(self, data_root: Path | None) -> Path:
        return (data_root or default_data_root()) / self.name
