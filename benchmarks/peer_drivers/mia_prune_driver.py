"""Driver of mia_prune: github.com/Machine-Learning-Security-Lab/mia_prune.

Its `MiaAttack` asks models for predictions and sensitivities; here "models" hand over those of the bank, the learners'
as shadows, and all victims' rows together as one victim's. Left out of its work: loader processes (four, which cost
more than they bring), and the test on the victim after every epoch, which it only prints.
"""

# V victims, A audited samples

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from functools import partial
from typing import Any

import numpy as np
from exchange import Bank, Clock, checkout, commit, run, warm_up


class Replayed:
    """A model that says what the models of a role said, about members or about the others."""

    def __init__(self, bank: Bank, which: str) -> None:
        self.bank, self.which = bank, which

    def predict_target_sensitivity(self, members: bool) -> tuple[Any, ...]:
        import torch

        bank = self.bank
        parts = (bank.posteriors, lambda row: bank.labels, bank.sensitivity)
        return tuple(torch.from_numpy(bank.stacked(part, self.which, members)) for part in parts)


def prepared(bank: Bank, epochs: int) -> tuple[Any, Any]:
    """Their module and an attack of theirs with the bank's predictions."""
    checkout()
    import attackers
    import torch

    warm_up()
    torch.manual_seed(0)
    shadow, victim = Replayed(bank, "learners"), Replayed(bank, "victims")
    made = attackers.MiaAttack(
        *(None, victim, True, False, [None], [shadow], [True], [False]),
        num_cls=int(bank.labels.max()) + 1,
        device="cpu",
        epochs=epochs,
    )
    return attackers, made


def learned(bank: Bank, clock: Clock, kind: str, epochs: int) -> np.ndarray:
    """Scores of the network that `nn_attack` trains: log-odds of its last epoch."""
    import torch

    attackers, made = prepared(bank, epochs)
    networks, tables = [], []

    class Kept(attackers.BaseModel):  # type: ignore[misc, name-defined]
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            networks.append(self)

        def test(self, *given: Any, **named: Any) -> tuple[float, float]:
            return 0.0, 0.0

    loader, dataset = attackers.DataLoader, attackers.TensorDataset
    attackers.BaseModel = Kept
    attackers.DataLoader = lambda *given, **named: loader(*given, **named | {"num_workers": 0, "pin_memory": False})
    attackers.TensorDataset = lambda *tensors: tables.append(tensors) or dataset(*tensors)
    with clock:
        made.nn_attack(kind, "transformer" if kind == "nn_sens_cls" else "mia_fc")
        network = networks[0].model.eval()
        with torch.no_grad():
            logits = network(tables[1][0])
    return bank.put_back((logits[:, 1] - logits[:, 0]).double().numpy())


def thresholds(bank: Bank, clock: Clock) -> np.ndarray:
    """The modified entropy, which is one of the four that `threshold_attack` learns thresholds for."""
    attackers, made = prepared(bank, 1)
    kept = []
    original = attackers.ThresholdAttacker
    attackers.ThresholdAttacker = lambda *given: kept.append(original(*given)) or kept[0]
    with clock, redirect_stdout(sys.stderr):
        made.threshold_attack()
    return bank.put_back(-np.concatenate([kept[0].t_tr_m_entr, kept[0].t_te_m_entr]))


if __name__ == "__main__":
    kinds = {"nn": "nn", "nn_top3": "nn_top3", "nn_cls": "nn_cls", "samia": "nn_sens_cls"}
    run({name: partial(learned, kind=kind) for name, kind in kinds.items()} | {"threshold": thresholds}, commit)
