"""Reads an `.npz` that may be wrong, damaged or hostile."""

from __future__ import annotations

import zipfile
from collections.abc import Collection
from pathlib import Path

import numpy as np

from pruneaudit.core.errors import UserError
from pruneaudit.core.unpacking import array_of, check_zip


def read_npz(
    path: Path, known: Collection[str], needed: Collection[str], one_of: Collection[str]
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`; their contents are not checked yet.

    Args:
        path: the file.
        known: the allowed keys.
        needed: the required keys.
        one_of: keys of which one is required.

    Raises:
        UserError: the file cannot be read, holds pickled objects, or lacks or misnames a key.
    """
    try:
        check_zip(path)
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):
                raise UserError(f"{path}: expected an .npz with logits, labels and member; write it with numpy.savez")
            file.seek(0)
            with np.load(file, allow_pickle=False) as archive:
                unknown = sorted(set(archive.files) - set(known))
                lacking = sorted(set(needed) - set(archive.files))
                if not set(one_of) & set(archive.files):
                    lacking.insert(0, "' or '".join(one_of))
                if unknown or lacking:
                    problem = f"unknown key '{unknown[0]}'" if unknown else f"key '{lacking[0]}' is missing"
                    raise UserError(f"{path}: {problem}; known keys: {', '.join(sorted(known))}")
                return {name: array_of(archive, name, f"{path}: ") for name in archive.files}
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); expected an .npz file") from None
    except Exception as error:  # a damaged archive raises anything from zlib.error to NotImplementedError
        reason = str(error) or type(error).__name__
        raise UserError(f"{path}: not a usable .npz ({reason}); write it with numpy.savez") from None
