"""Driver of the PyTorch port of LiRA's released code: github.com/orientino/lira-pytorch.

Its `score.py` scales every model's logits, and its `plot.py` fits and compares normal distributions. Both read and
write files, as they do there. The clock counts the second; seconds of the first are noted, since ours has to do the
same work. Data sets are never loaded, so an empty module stands in for torchvision.
"""

# V victims, A audited samples

from __future__ import annotations

import sys
import tempfile
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
from exchange import Bank, Clock, checkout, commit, run


def attack(bank: Bank, clock: Clock, online: bool, fix_variance: bool) -> np.ndarray:
    """Scores of the victims, which their code treats as the models to test."""
    for name in ("torchvision", "torchvision.datasets"):
        sys.modules[name] = ModuleType(name)
    sys.modules["torchvision.datasets"].CIFAR10 = None  # type: ignore[attr-defined]
    checkout()
    with tempfile.TemporaryDirectory() as folder:
        sys.argv = ["plot.py", "--savedir", folder]
        import plot
        import score

        for row in (*bank.rows("references"), *bank.rows("victims")):
            (Path(folder) / str(row)).mkdir()
            np.save(Path(folder) / str(row) / "logits.npy", bank.logits(row)[bank.audited][:, None, :])
            np.save(Path(folder) / str(row) / "keep.npy", bank.member[row, bank.audited])
        score.get_labels = lambda: bank.labels[bank.audited]
        scaling = Clock()
        with scaling, redirect_stdout(sys.stderr):
            for one in Path(folder).iterdir():  # theirs spreads them over eight processes
                score.load_one(str(one))
        clock.notes["scaling_cpu"] = scaling.cpu
        with clock:
            plot.load_data()
            order = [int(one.name) for one in Path(folder).iterdir()]  # as theirs lists them
            known, asked = (np.array([order.index(row) for row in bank.rows(w)]) for w in ("references", "victims"))
            generate = plot.generate_ours if online else plot.generate_ours_offline
            found, _ = generate(
                plot.keep[known], plot.scores[known], plot.keep[asked], plot.scores[asked], fix_variance=fix_variance
            )
        return -np.array(found).reshape(len(asked), -1)


if __name__ == "__main__":
    run(
        {
            "online": partial(attack, online=True, fix_variance=False),
            "online, fixed variance": partial(attack, online=True, fix_variance=True),
            "offline": partial(attack, online=False, fix_variance=False),
            "offline, fixed variance": partial(attack, online=False, fix_variance=True),
        },
        commit,
    )
