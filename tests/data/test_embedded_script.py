"""The script that draws the embedded images writes the same bytes every time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from pruneaudit.core.identity import sha256_of_arrays
from pruneaudit.data.fashion_mnist_5k import FILE, SHA256
from pruneaudit.data.idx_images import DEBIAN_FOLDER

SCRIPT = Path(__file__).parents[2] / "scripts" / "make_embedded_data.py"


@pytest.mark.slow
@pytest.mark.skipif(not DEBIAN_FOLDER.is_dir(), reason="needs Debian's package dataset-fashion-mnist")
def test_two_runs_write_the_same_bytes(tmp_path: Path) -> None:
    outputs = [tmp_path / "first.npz", tmp_path / "second.npz"]
    for output in outputs:
        subprocess.run([sys.executable, SCRIPT, "--output", output], check=True, capture_output=True)
    first, second = (output.read_bytes() for output in outputs)
    assert first == second
    with np.load(outputs[0]) as arrays:
        assert sha256_of_arrays(dict(arrays)) == SHA256
    assert FILE.stat().st_size < 2_500_000
