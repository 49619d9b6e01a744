"""Made-up tables of one family: what its sets leak is known, so what a report says of them can be checked."""

from itertools import combinations

import numpy as np
import pandas as pd

NAN = np.nan
FAMILY = ("dense", "dense+finetune", "l1unstructured-0.9")
AUCS = {
    ("dense",): 0.76,
    ("dense+finetune",): 0.77,
    ("l1unstructured-0.9",): 0.61,
    ("dense", "dense+finetune"): 0.78,
    ("dense", "l1unstructured-0.9"): 0.7604,
    ("dense+finetune", "l1unstructured-0.9"): 0.75,
    FAMILY: 0.7801,
}
"""The joint attack is weak on the pair without dense: it finds less than on dense+finetune alone."""
HALF_WIDTH = 0.002
WEAK = (
    "the joint attack is weak here: a loss of AUC of 0.005 or more is not ruled out (measured {:+.4f}, adjusted p = 1)"
)
TPR = "tpr_at_1%_fpr"


def limits(value, names=("value", "low", "high"), width=HALF_WIDTH):
    return dict(zip(names, (value, value - width, value + width), strict=True))


def set_rows(family=FAMILY, references="matched", rivals=(("pair_nn", 0.7),)):
    rows = []
    difference = ("difference", "difference_low", "difference_high")
    for metric, scale in (("auc", 1.0), (TPR, 0.1)):
        common = {"family": "; ".join(family), "references": references, "metric": metric}
        common |= {"num_victims": 16, "suppressed": ""}
        for releases, auc in AUCS.items():
            best = max(releases, key=lambda name: AUCS[name,])
            row = common | {"releases": "; ".join(releases), "num_releases": len(releases), "attack": "family"}
            row |= limits(auc * scale) | {"best_part": best}
            gain = (auc - AUCS[best,]) * scale if len(releases) > 1 else NAN
            rows.append(row | limits(gain, difference, HALF_WIDTH * scale))
        for attack, auc in rivals:
            row = common | {"releases": "; ".join(family), "num_releases": len(family), "attack": attack}
            row |= limits(auc * scale) | {"best_part": "dense+finetune"}
            rows.append(row | limits((auc - AUCS[family]) * scale, difference, HALF_WIDTH * scale))
    return pd.DataFrame(rows)


def marginal_rows(family=FAMILY, references="matched", repeats="", post_processing=""):
    """All edges of the lattice; `repeats` and `post_processing` are releases that relate to dense."""
    path = [((), "dense+finetune"), (("dense+finetune",), "dense"), (FAMILY[:2], FAMILY[2])]
    rows = []
    for metric, scale in (("auc", 1.0), (TPR, 0.1)):
        for size in range(len(family)):
            for given in combinations(family, size):
                for added in [name for name in family if name not in given]:
                    after = tuple(name for name in family if name in (*given, added))
                    change = AUCS[after] - (AUCS[given] if given else 0.5)
                    is_weak = change < -0.004
                    row = {"family": "; ".join(family), "given": "; ".join(given), "added": added, "attack": "family"}
                    row |= {"references": references, "metric": metric, "num_victims": 16}
                    row |= limits(NAN if is_weak else change * scale, ("difference", "low", "high"), HALF_WIDTH * scale)
                    row |= {"p_value": 1.0 if is_weak else 0.001, "p_adjusted": 1.0 if is_weak else 0.01}
                    row |= {"step": path.index((given, added)) + 1 if (given, added) in path else NAN}
                    row |= {"repeats": "dense" if added == repeats and "dense" in given else ""}
                    row |= {"post_processing_of": "dense" if added == post_processing and "dense" in given else ""}
                    rows.append(row | {"suppressed": WEAK.format(change) if is_weak else ""})
    return pd.DataFrame(rows)


def large_family(num):
    """Tables in AUC of r0, r1, ..., as for more than five releases: the greedy order, single ones, and all but one."""
    names = [f"r{number}" for number in range(num)]
    way = [tuple(names[:size]) for size in range(num + 1)]
    sets = dict.fromkeys([*way[1:], *((name,) for name in names)])
    sets |= dict.fromkeys(tuple(name for name in names if name != left) for left in names)
    first, common = set_rows(rivals=[]).iloc[0].to_dict(), {"family": "; ".join(names)}
    rows = [
        first | common | {"releases": "; ".join(chosen), "num_releases": len(chosen), "best_part": chosen[0]}
        for chosen in sets
    ]
    edges = []
    for chosen in sets:
        for added in chosen:
            given = tuple(name for name in chosen if name != added)
            step = len(chosen) if given in way and chosen in way else NAN
            if given in (*sets, ()):
                edge = {"given": "; ".join(given), "added": added, "step": step}
                edges.append(marginal_rows().iloc[0].to_dict() | common | edge)
    return pd.DataFrame(rows), pd.DataFrame(edges)
