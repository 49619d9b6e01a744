"""Driver of CompLeak: github.com/hhhh384/CompLeak-Deep-Learning-Model-Compression-Exacerbates-Privacy-Leakage.

Its `MiaAttack` asks models for predictions; here "models" hand over those of the bank, the learners' as shadows, and
all victims' rows together as one victim's. Its figures go to the terminal, so its scores are taken where it computes an
AUC from them. The network of several releases stands in a notebook, which is read from the checkout and run cell by
cell; there every release answers for itself (the notebook queries the last one for all). The others are its modules.

Its RMIA takes no account of who trained on a sample: its shadows never did. So each pair of references serves as one
shadow that answers with whichever of the two did not train on the sample; z are the holdout.
"""

# V victims, A audited samples, N samples, C classes

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
from exchange import Bank, Clock, checkout, commit, run, warm_up

METHODS = {
    "NR": "CompLeakNR_train_based_method_2(target_original_model)",  # posteriors and label
    "SR": "CompLeakSR2",  # posteriors of both and label
}


class Replayed:
    """A model that says what the models of a role said, about members or about the others."""

    def __init__(self, bank: Bank, which: str, release: int) -> None:
        self.bank, self.which, self.release = bank, which, release

    def predict_target_sensitivity(self, rows: Any) -> tuple[Any, ...]:
        import torch

        bank = self.bank
        parts = (partial(bank.posteriors, release=self.release), lambda row: bank.labels)
        answers, labels = (torch.from_numpy(bank.stacked(part, self.which, rows.members)) for part in parts)
        return answers, labels, torch.zeros_like(answers)  # only SAMIA, which is not played, wants sensitivities


def modules() -> tuple[Any, list[np.ndarray]]:
    """Their module of attacks, and a list to which all scores go that an AUC is computed from."""
    for name in ("torchvision", "torchvision.models", "torchvision.transforms"):
        sys.modules[name] = ModuleType(name)  # they load no data set and no network of it here
    root = checkout()
    sys.path.insert(0, str(root / "CompLeak"))
    warm_up()
    from attack import attack_model, attackers

    judged: list[np.ndarray] = []
    for module, name in ((attack_model, "roc_curve"), (attackers, "roc_auc_score")):
        original = getattr(module, name)
        setattr(module, name, _keeping(judged, original))
    return attackers, judged


def _keeping(kept: list[np.ndarray], function: Callable[..., Any]) -> Callable[..., Any]:
    def called(truth: Any, scores: Any) -> Any:
        kept.append(np.array(scores))
        return function(truth, scores)

    return called


def made_of(attackers: Any, bank: Bank, release: int | None) -> Any:
    """An attack of theirs on the dense release, beside a compressed one if a number is given."""
    inside, outside = (SimpleNamespace(members=side) for side in (True, False))
    victim, shadow = Replayed(bank, "victims", 0), Replayed(bank, "learners", 0)
    other = release or 0
    victims, shadows = Replayed(bank, "victims", other), Replayed(bank, "learners", other)
    return attackers.MiaAttack(
        *(victim, victims, inside, outside, [shadow], [shadows], [inside], [outside]),
        original=True,
        compress=release is not None,
        num_cls=int(bank.labels.max()) + 1,
        device="cpu",
        attack_device="cpu",
    )


def trained(attackers: Any, made: Any, scenario: str, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Their classifier's shares for the learners' rows and for the victims', members before others, (n, 2)."""
    getattr(made, f"feature_prepare_{scenario}")()
    for frame in (made.shadow_posterior_df, made.victim_posterior_df):
        made.construct_feature(frame, scenario)
    attack = attackers.Attack(kind, made.shadow_posterior_df, made.victim_posterior_df)
    _, _, known, _ = attack.train_attack_model(METHODS[scenario], "")
    _, _, _, asked, _ = attack.test_attack_model(METHODS[scenario])
    return known, asked


def classifier(bank: Bank, clock: Clock, scenario: str, kind: str) -> np.ndarray:
    """Forest (RF) or regression (LR) on the dense release (NR), or on dense and compressed (SR)."""
    attackers, judged = modules()
    made = made_of(attackers, bank, None if scenario == "NR" else 1)
    with clock, redirect_stdout(sys.stderr):
        trained(attackers, made, scenario, kind)
    return bank.put_back(judged[-1])


def several(bank: Bank, clock: Clock, epochs: int) -> np.ndarray:
    """The network of `CompLeakMR.ipynb` on the forests' shares and the losses of every compressed release."""
    import torch

    attackers, judged = modules()
    releases = range(1, bank.num_releases)
    made = [made_of(attackers, bank, release) for release in releases]
    places: dict[str, Any] = {
        **{"torch": torch, "nn": torch.nn, "np": np, "Dataset": torch.utils.data.Dataset, "device": "cpu"},
        **{"compress_num": len(releases), "num_cls": int(bank.labels.max()) + 1},
    }
    source = _cells(Path(sys.path[0]) / "CompLeakMR.ipynb")
    torch.manual_seed(7)
    with clock, redirect_stdout(sys.stderr):
        shares = [trained(attackers, one, "SR", "RF") for one in made]
        for part in ("class CustomDataset", "class AttackModel", "def train_mia_attack_model"):
            exec(source(part), places)
        places["roc_auc_score"] = _keeping(judged, places["roc_auc_score"])
        loaders = []
        for side, which in enumerate(("learners", "victims")):
            table = torch.from_numpy(np.hstack([pair[side] for pair in shares]).astype(np.float32))
            labels = torch.from_numpy(np.concatenate([np.full(len(part), part[0]) for part in _sides(bank, which)]))
            rows = places["CustomDataset"](table, _losses(bank, which, list(releases)), labels)
            loaders.append(torch.utils.data.DataLoader(rows, batch_size=128, shuffle=which == "learners"))
        places |= dict(zip(("train_loader", "test_loader"), loaders, strict=True))
        loop = source("attack_scheduler = ").replace("import roc_auc_score", "import accuracy_score")
        assert "epoch = 100" in loop
        exec(loop.replace("epoch = 100", f"epoch = {epochs}"), places)
    return bank.put_back(judged[-1])


def _cells(path: Path) -> Callable[[str], str]:
    """A function that gives the source of the notebook's only cell with some text in it."""
    cells = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"]]

    def source(part: str) -> str:
        (found,) = (cell for cell in cells if part in cell)
        return found

    return source


def _sides(bank: Bank, which: str) -> list[np.ndarray]:
    """Membership of a role's rows, members before others."""
    return [bank.stacked(lambda row: bank.member[row], which, side).astype(np.float32) for side in (True, False)]


def _losses(bank: Bank, which: str, releases: list[int]) -> Any:
    """-ln p_y of every compressed release, members before others, (n, k) float32."""

    def of(release: int, members: bool) -> np.ndarray:
        return bank.stacked(lambda row: -np.log(bank.true_class(row, release) + 1e-30), which, members)

    columns = [np.concatenate([of(release, side) for side in (True, False)]) for release in releases]
    return np.stack(columns, axis=1).astype(np.float32)


def rmia(bank: Bank, clock: Clock) -> np.ndarray:
    """Scores of each victim by `CompLeakNR_RMIA`."""
    import torch

    attackers, judged = modules()

    class Lookup(torch.nn.Module):
        def __init__(self, table: np.ndarray) -> None:
            super().__init__()
            self.table = torch.from_numpy(table)

        def forward(self, samples: Any) -> Any:
            return self.table[samples]

    def rows(samples: np.ndarray) -> Any:
        parts = torch.from_numpy(samples), torch.from_numpy(bank.labels[samples])
        return SimpleNamespace(dataset=torch.utils.data.TensorDataset(*parts))

    shadows = []
    for first, second in bank.pairs():
        untrained = np.where(bank.member[first][:, None], bank.logits(second), bank.logits(first))
        shadows.append(SimpleNamespace(model=Lookup(untrained)))
    z = np.array_split(np.flatnonzero(bank.rest["holdout"]), 2)
    scores = np.empty((len(bank.rows("victims")), len(bank.audited)))
    for row, victim in zip(scores, bank.rows("victims"), strict=True):
        inside, outside = (bank.audited[bank.member[victim, bank.audited] == side] for side in (True, False))
        made = object.__new__(attackers.MiaAttack)  # its constructor only asks for what RMIA does not use
        made.__dict__.update(
            **{"victim_model": SimpleNamespace(model=Lookup(bank.logits(victim)))},
            **{"shadow_model_list": shadows, "shadow_compress_model_list": shadows, "batch_size": 128},
            **{"victim_train_loader": rows(inside), "victim_test_loader": rows(outside), "device": "cpu"},
            **{"shadow_train_loader_list": [rows(z[0])], "shadow_test_loader_list": [rows(z[1])]},
            **{"original": True, "compress": False},
        )
        made.victim_compress_model = made.victim_model
        with clock, redirect_stdout(sys.stderr):
            made.CompLeakNR_RMIA()
        row[np.searchsorted(bank.audited, np.concatenate([inside, outside]))] = judged[-1]
    return scores


if __name__ == "__main__":
    kinds = {
        f"{scenario} {kind}": partial(classifier, scenario=scenario, kind=kind)
        for scenario in METHODS
        for kind in ("RF", "LR")
    }
    run(kinds | {"MR": several, "NR RMIA": rmia}, commit)
