"""Arrays of `.npz` files, which are closed once they are read."""

from pathlib import Path

import numpy as np


def arrays_in(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, by name."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
