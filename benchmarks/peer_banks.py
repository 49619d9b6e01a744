"""The banks that `peers.py` gives to everybody, as files; `peer_drivers/exchange.py` describes them.

Models come in pairs: the second is trained on the samples that the first was not trained on. Privacy Meter takes
nothing else, and the released LiRA code, which cuts every sample down to the smallest count of models that have seen
it (or have not), loses nothing that way. Victims and their pairs are nobody's references: a sample that half of all
models are trained on would be told apart by counting.
"""

# M models, N samples

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from pruneaudit.signals.signals import Signals

# Everything big is imported in the functions, so that the process that starts the others stays small.

NUM_VICTIMS = 4
COMPRESSED = ("l1unstructured-0.7", "l1unstructured-0.9")
NUM_HOLDOUT = 500
"""RMIA's z."""


def trained(folder: Path, num_references: int, num_samples: int, num_learners: int) -> None:
    """Trains a bank of overfit TinyCNNs on the embedded Fashion-MNIST, dense and pruned, and writes its answers.

    Args:
        folder: where to.
        num_references: even.
        num_samples: that are audited.
        num_learners: references that classifiers learn from; even.
    """
    import numpy as np

    from pruneaudit.data.drawing import load_audit_data
    from pruneaudit.data.membership import draw_membership, write_membership
    from pruneaudit.engine.assemble import release_signals
    from pruneaudit.engine.plan import make_plan
    from pruneaudit.engine.processes import Processes
    from pruneaudit.engine.progress import Silent
    from pruneaudit.engine.scheduler import carry_out
    from pruneaudit.engine.store import Store
    from pruneaudit.study import DENSE, Study

    num_models = NUM_VICTIMS + num_references
    study = Study.model_validate(
        {
            "name": "peers",
            "data": {"num_samples": num_samples, "num_holdout": NUM_HOLDOUT},
            "membership": {"num_models": num_models},
            "training": {"epochs": 30},
            "releases": [{"compress": "l1unstructured", "sparsity": [0.7, 0.9], "finetune": {"epochs": 5}}],
            "audit": {"attacks": ["samia"]},
        }
    )
    audit_data = load_audit_data(study.data, study.seed)
    splits = draw_membership(study, audit_data)
    splits = replace(splits, member=in_pairs(splits.member, splits.eligible))
    plan = make_plan(study, audit_data)
    with tempfile.TemporaryDirectory() as run:
        store = Store(Path(run))
        store.open_for_writing()
        write_membership(store.root, splits, audit_data)
        with Processes(2) as workers:
            work = carry_out(plan, audit_data, store, workers, "cpu", Silent(), checkpoint_seconds=600)
        assert not work.failures, work.failures
        for number, release in enumerate((DENSE, *COMPRESSED)):
            write_answers(folder, number, release_signals(plan, store, audit_data, release))
    roles = roles_of(num_models, NUM_VICTIMS, num_learners)
    np.savez(folder / "rest.npz", labels=audit_data.y, member=splits.member, holdout=audit_data.holdout, **roles)


def made_up(folder: Path, num_models: int, num_samples: int, num_holdout: int) -> None:
    """Writes a made-up bank of ten classes and one release, of whose models one is attacked."""
    import made_up
    import numpy as np

    made_up.make_bank(folder, num_models, num_samples, 10, num_holdout, in_pairs=True)
    rest = dict(np.load(folder / "rest.npz"))
    np.savez(folder / "rest.npz", **rest, **roles_of(num_models, 1, 2))


def in_pairs(member: np.ndarray, eligible: np.ndarray) -> np.ndarray:
    """Membership (M, N) in which every second model has the members that the one before lacks, and no others."""
    paired = member.copy()
    paired[1::2] = ~member[::2] & eligible[::2]
    return paired


def roles_of(num_models: int, num_victims: int, num_learners: int) -> dict[str, list[int]]:
    """Who is what: the first models are the victims and their pairs, the others references."""
    taken = num_victims + num_victims % 2
    victims, references = list(range(num_victims)), list(range(taken, num_models))
    paired = [row ^ 1 for row in victims]
    return {"victims": victims, "paired": paired, "references": references, "learners": references[:num_learners]}


def write_answers(folder: Path, release: int, signals: Signals) -> None:
    """Writes logits and sensitivities of all models of a release."""
    import numpy as np

    assert signals.logits is not None and signals.sensitivity is not None
    for model in range(signals.num_models):
        np.save(folder / f"{release}-{model}.npy", signals.logits[model].astype(np.float32))
        np.save(folder / f"sensitivity-{release}-{model}.npy", signals.sensitivity[model].astype(np.float32))
