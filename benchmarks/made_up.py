"""A made-up bank on disk, as the store keeps one: phi = how easy the sample is + gain where trained on it + noise."""

# M models, N samples (the holdout first), C classes

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pruneaudit.signals.signals import Signals

# NumPy is imported in the functions: the process that starts the others stays small, or its memory would count too.

GAIN = 1.0


def make_bank(
    folder: Path,
    num_models: int,
    num_samples: int,
    num_classes: int,
    num_holdout: int,
    release: int = 0,
    in_pairs: bool = False,
) -> None:
    """Writes signals, model by model.

    Args:
        folder: is there already.
        num_models: M, every one a victim.
        num_samples: that are audited.
        num_classes: C.
        num_holdout: samples besides, in nobody's training set.
        release: another one has other noise, for the same models and samples.
        in_pairs: models 1, 3, ... are trained on the samples that the model before was not trained on.
    """
    import numpy as np

    rng = np.random.default_rng(0)
    total = num_samples + num_holdout
    labels, easiness = rng.integers(num_classes, size=total), rng.normal(0.5, 1.5, total)
    member = rng.random((num_models, total)) < 0.5
    if in_pairs:
        member[1::2] = ~member[::2]
    member[:, :num_holdout] = False
    for model, inside in enumerate(member):
        noise = np.random.default_rng([1, model, release])
        logits = noise.normal(size=(total, num_classes))
        logits[np.arange(total), labels] = -np.inf
        logits -= np.log(np.exp(logits).sum(axis=1, keepdims=True))  # the others' logsumexp is 0, so phi is the label's
        logits[np.arange(total), labels] = easiness + GAIN * inside + noise.normal(size=total)
        np.save(folder / f"{release}-{model}.npy", logits.astype(np.float32))
    np.savez(folder / "rest.npz", labels=labels, member=member, holdout=np.arange(total) < num_holdout)


def load(folder: Path, release: int = 0) -> Signals:
    """The bank as `engine/assemble.py` puts one together: mapped files, stacked."""
    import numpy as np

    from pruneaudit.signals.signals import Signals

    rest = np.load(folder / "rest.npz")
    files = [np.load(folder / f"{release}-{model}.npy", mmap_mode="r") for model in range(len(rest["member"]))]
    eligible = np.broadcast_to(~rest["holdout"], rest["member"].shape)
    return Signals(np.stack(files), rest["labels"], rest["member"], eligible=eligible)


if __name__ == "__main__":
    make_bank(Path(sys.argv[1]), *map(int, sys.argv[2:]))
