"""Which attack of which peer plays beside which of ours, and how to get the peers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

OURS = "ours"
TORCH = "an interpreter with torch, scikit-learn, pandas, matplotlib, tqdm"


@dataclass(frozen=True)
class Peer:
    """Another tool."""

    install: str
    """How to get it, in one line."""
    is_checkout: bool = True
    """It is a repository to clone, not a package."""


PEERS = {
    "lira_pytorch": Peer(f"git clone https://github.com/orientino/lira-pytorch; {TORCH}"),
    "privacy_meter": Peer(
        f"git clone https://github.com/privacytrustlab/ml_privacy_meter (the package on PyPI is older); {TORCH}"
    ),
    "art": Peer("pip install adversarial-robustness-toolbox torch packaging", is_checkout=False),
    "sacro_ml": Peer("pip install sacroml", is_checkout=False),
    "mia_prune": Peer(f"git clone https://github.com/Machine-Learning-Security-Lab/mia_prune; {TORCH}"),
    "compleak": Peer(
        "git clone https://github.com/hhhh384/CompLeak-Deep-Learning-Model-Compression-Exacerbates-Privacy-Leakage;"
        f" {TORCH}"
    ),
}


@dataclass(frozen=True)
class Play:
    """One attack of one side: what its driver is told."""

    peer: str
    attack: str
    options: tuple[tuple[str, Any], ...] = ()
    said: str = ""
    """The name in tables; default: the attack's."""

    def __str__(self) -> str:
        return f"{self.peer}, {self.said or self.attack} {json.dumps(dict(self.options))}"


@dataclass(frozen=True)
class Match:
    """An attack of a peer beside one of ours."""

    theirs: Play
    ours: Play
    note: str = ""
    """What was not the same."""
    share: int = 1
    """Our seconds are divided by this number: our play attacks so many victims for each of theirs."""


def their(peer: str, attack: str, said: str = "", **options: Any) -> Play:
    return Play(peer, attack, tuple(options.items()), said)


def our(spec: str, said: str = "", **options: Any) -> Play:
    return Play(OURS, "play", (("spec", spec), *options.items()), said or spec)


def learner(spec: str, **options: Any) -> Play:
    """A classifier of ours that learns from all of the learners' rows, as theirs do (an audit holds out some)."""
    return our(spec, which="learners", all_rows=True, **options)


EPOCHS, SAMIA_EPOCHS = 10, 2
RECIPE = {"nn_model_epochs": EPOCHS, "nn_model_batch_size": 128, "nn_model_learning_rate": 3e-4}
EQUAL = f"equal rows, {EPOCHS} passes"
BLACK_BOX = "MembershipInferenceBlackBox"


def _mia_prune() -> list[Match]:
    matches = []
    for name in ("nn", "nn_top3", "nn_cls", "samia"):
        epochs = SAMIA_EPOCHS if name == "samia" else EPOCHS
        ours = learner(f"{name}:preset=mia_prune:epochs={epochs}")
        matches.append(Match(their("mia_prune", name, epochs=epochs), ours, f"equal rows, {epochs} passes"))
    ours = our("modified_entropy:thresholds=per_class", which="learners", thresholds=True)
    return [*matches, Match(their("mia_prune", "threshold"), ours, "theirs learns thresholds for four signals")]


MATCHES = {
    "trained": [
        Match(their("lira_pytorch", "online"), our("lira")),
        Match(their("lira_pytorch", "online, fixed variance"), our("lira")),
        Match(
            their("lira_pytorch", "online, fixed variance"),
            our("lira:variance=released_global:centre=median"),
            "the same formula",
        ),
        Match(their("lira_pytorch", "offline"), our("lira:mode=offline")),
        Match(their("lira_pytorch", "offline, fixed variance"), our("lira:mode=offline")),
        Match(their("sacro_ml", "LIRAAttack", "LIRAAttack, online", mode="online-carlini"), our("lira")),
        Match(their("sacro_ml", "LIRAAttack", "LIRAAttack, offline", mode="offline"), our("lira:mode=offline")),
        Match(their("privacy_meter", "rmia"), our("rmia:mode=offline"), "a tuned, on another model by both"),
        Match(their("privacy_meter", "rmia"), our("rmia"), "theirs is offline"),
        Match(their("compleak", "NR RMIA"), our("rmia:mode=offline")),
        Match(
            their("art", BLACK_BOX, "nn, our recipe", kind="nn", **RECIPE),
            learner(f"nn_cls:epochs={EPOCHS}"),
            EQUAL,
        ),
        Match(their("art", BLACK_BOX, "rf", kind="rf"), learner("posterior_rf"), "theirs has 100 trees, ours 500"),
        Match(their("art", BLACK_BOX, "gb", kind="gb"), learner("posterior_rf"), "boosted trees, ours a forest"),
        Match(their("art", BLACK_BOX, "lr", kind="lr"), learner("posterior_lr")),
        Match(
            their("sacro_ml", "WorstCaseAttack's forest"),
            learner("posterior_rf:label=false"),
            "its depth is limited to 5, 100 trees; on the victim's own members as shipped",
        ),
        *_mia_prune(),
        Match(their("compleak", "NR RF"), learner("posterior_rf")),
        Match(their("compleak", "NR LR"), learner("posterior_lr")),
        Match(their("compleak", "SR RF"), learner("pair_rf", num_releases=2)),
        Match(their("compleak", "SR LR"), learner("pair_lr", num_releases=2)),
        Match(their("compleak", "MR", epochs=100), learner("compleak_mr", num_releases=3), "ours is cross-fitted"),
    ],
    "made-up": [
        Match(their("lira_pytorch", "online"), our("lira"), "one victim"),
        Match(
            their("lira_pytorch", "online"), our("lira", everyone=True), "ours: every model a victim, per victim", 128
        ),
        Match(their("sacro_ml", "LIRAAttack", "LIRAAttack, online", mode="online-carlini"), our("lira"), "one victim"),
        Match(
            their("sacro_ml", "LIRAAttack", "LIRAAttack, online", mode="online-carlini"),
            our("lira", everyone=True),
            "ours: every model a victim, per victim",
            128,
        ),
        Match(their("privacy_meter", "rmia"), our("rmia:mode=offline"), "one victim"),
        Match(
            their("privacy_meter", "rmia"), our("rmia", everyone=True), "ours: every model a victim, per victim", 128
        ),
        Match(their("compleak", "NR RMIA"), our("rmia:mode=offline"), "one victim"),
    ],
}
"""By bank."""
