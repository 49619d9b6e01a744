"""Attacks: pure functions from signals to one score per (victim, sample). Higher = more likely a member."""

from pruneaudit.attacks.attack import Attack
from pruneaudit.core.registry import Registry

ATTACKS: Registry[type[Attack]] = Registry(
    "attack",
    "pruneaudit.attacks",
    "ATTACK",
    infrastructure={
        *(
            "attack",
            "classifier",
            "disjoint",
            "folds",
            "groups",
            "learned",
            "moments",
            "primary",
            "ratios",
            "record_scores",
            "reference_free",
            "release_evidence",
            "ties",
            "tuning",
            "attack_input",
        ),
    },
    shared={
        "one_prediction": ("loss", "confidence", "top1_confidence", "correctness", "entropy", "modified_entropy"),
        "posterior_classifiers": ("posterior_lr", "posterior_rf", "pair_lr", "pair_rf"),
        "posterior_networks": ("nn", "nn_top3", "nn_cls"),
        "ranks": ("attack_p", "attack_r"),
    },
)
