"""CompLeak (Li et al., USENIX Security 2026, arXiv 2507.16872): its compressors and attacks, as studies.

The system trains a dense network and compresses it in three ways; shadows get the same training and compression. It
attacks each release alone (NR), and the dense network together with one release (SR). `compleak/cifar10-resnet18` has
its numbers, `compleak/fashion` the same design at a size that runs in minutes. Its commands are on the page
docs/coming-from.md.

Where the studies differ from the system on purpose:
- queries: it loads members through its training loader, which crops and flips them for each query and network, but
  loads non-members without this. Here all samples get the same queries. `compleak_protocol.py` replays its way on a
  finished run;
- "QAT": its code prepares the network without fake quantisation, so it fine-tunes in float and quantises afterwards.
  Here that is `int8-as-released`, `static8` of networks with the same fine-tuning; `qat-8` is what the name promises;
- membership: it has one victim with 20,000 members of 30,000 samples, and one shadow. Here members are drawn by
  coins; on CIFAR-10 there are four victims, each with one shadow, and on Fashion-MNIST all networks attack one another;
- the epoch of dense and fine-tuned networks is the best on public samples; the system takes the best epoch on the
  samples that it audits, and for SAMIA the best epoch on the victim;
- clustering adds up the gradients of a cluster (`reduce=sum`) at its learning rate of 1e-5;
- its ResNet-18 has dropout before the last layer, ours none. Its further penalty on weights, 5e-5, is added to weight
  decay, which is the same in SGD;
- baselines: networks with the same fine-tuning and no compression. It has none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from pruneaudit.core.options import validated
from pruneaudit.study import Study
from pruneaudit.study.recipes import System

FOLDER = "compleak"
SPARSITIES = (0.6, 0.7, 0.8, 0.9)
CLUSTERS = (4, 8, 16)
TUNED = "dense+finetune"
AS_RELEASED, AS_MEANT = "int8-as-released", "qat-8"
"""Its 8 bits: float fine-tuning that is quantised afterwards, and training with quantised weights."""
TUNING_RATE, CLUSTERING_RATE = 1e-3, 1e-5
NR = (
    *(f"posterior_{how}{label}" for how in ("lr", "rf") for label in ("", ":label=false")),
    *(f"{name}:thresholds=per_class" for name in ("entropy", "modified_entropy")),
)
"""Its attacks on one network, without SAMIA and RMIA."""
SR = tuple(f"pair_{how}{label}" for how in ("lr", "rf") for label in ("", ":label=false"))
"""Its attacks on the dense network and one release: SR2, and SR1 without the label."""
RMIA = "rmia:a=0.5:gamma=1"


class _Scale(NamedTuple):
    """What differs between its experiment and the small one."""

    description: str
    settings: Mapping[str, Any]
    epochs: int
    """Of fine-tuning."""
    tuning_rate: float
    clustering_rate: float
    attacks: tuple[str, ...]


_RECIPES = {
    f"{FOLDER}/cifar10-resnet18": _Scale(
        "CIFAR-10 and ResNet-18 with its numbers: four victims, each with one shadow",
        {
            "seed": 7,
            "model": "resnet18:max_pool=true",
            "data": {"source": "cifar10", "num_public": 4_000, "num_holdout": 2_000},
            "membership": {"protocol": "disjoint", "num_shadows": 1, "num_models": 8},
            "training": {
                "epochs": 100,
                "batch_size": 128,
                "learning_rate": 0.1,
                "weight_decay": 5.5e-4,
                "augment": "crop_flip",
                "select": "best_dev",
                "patience": 10,
            },
        },
        30,
        TUNING_RATE,
        CLUSTERING_RATE,
        (*NR, *SR, "samia:preset=mia_prune", f"{RMIA}:mode=offline"),
    ),
    f"{FOLDER}/fashion": _Scale(
        "Fashion-MNIST and a small network: 12 networks, each a victim and a reference of the others; minutes on two"
        " cores",
        {
            "seed": 7,
            "model": "tinycnn:width=16",
            "data": {"source": "fashion_mnist_5k", "num_samples": 2_200, "num_public": 800, "num_holdout": 2_000},
            "membership": {"num_models": 12},
            "training": {
                "epochs": 40,
                "batch_size": 32,
                "learning_rate": 0.05,
                "weight_decay": 5.5e-4,
                "augment": "crop_flip",
                "select": "best_dev",
                "patience": 10,
            },
        },
        10,
        0.01,
        CLUSTERING_RATE,
        (
            *(f"{attack}:max_rows=3000" for attack in ("posterior_lr", "posterior_rf", "pair_lr", "pair_rf")),
            *(f"{name}:thresholds=per_class" for name in ("entropy", "modified_entropy")),
            "samia:max_rows=2000:epochs=5",
            RMIA,
            "lira",
        ),
    ),
}


def study_of(name: str) -> Study:
    """Returns the study of one of its recipes."""
    scale = _RECIPES[name]
    tuned = {"epochs": scale.epochs, "learning_rate": scale.tuning_rate}
    clustered = tuned | {"learning_rate": scale.clustering_rate}
    pruner = {"name": "l1unstructured", "options": {"preset": "mia_prune"}}
    clusters = {"name": "kmeans", "options": {"init": "kmeans++", "reduce": "sum"}}
    releases = [
        {"name": TUNED, "finetune": tuned},
        *(
            {"name": f"pruning-{sparsity:g}", "compress": pruner, "sparsity": sparsity, "finetune": tuned}
            for sparsity in SPARSITIES
        ),
        {"name": AS_RELEASED, "parent": TUNED, "compress": "static8"},
        {"name": AS_MEANT, "compress": "qat:bits=8", "finetune": tuned},
        *(
            {"name": f"clustering-{number}", "compress": clusters, "clusters": number, "finetune": clustered}
            for number in CLUSTERS
        ),
    ]
    settings = {
        "name": name.replace("/", "-"),
        "description": f"CompLeak (arXiv 2507.16872): {scale.description}; pruning, 8 bits, clustering, each attacked"
        " alone and together with the dense network.",
        **scale.settings,
        "releases": releases,
        "audit": {"attacks": list(scale.attacks), "references": ["matched"]},
    }
    return validated(Study, settings, name)


class CompLeak(System):
    """CompLeak, at its own scale and at a small one."""

    recipes = tuple(_RECIPES)

    def recipe(self, name: str) -> Study:
        """Returns the study of one of its recipes."""
        return study_of(name)


SYSTEM = CompLeak()
