"""Audit your own network, trained by your own function on your own data, before and after pruning.

Run it where the results shall lie: python own_training.py
"""

import digits_code
import numpy as np
from sklearn.datasets import load_digits

import pruneaudit


def main() -> None:
    """Writes the data, runs the study, and prints what was found."""
    digits = load_digits()
    x = np.round(digits.images * 255 / 16).astype(np.uint8)  # images (N, 8, 8); colour: (N, 3, H, W)
    np.savez("digits.npz", x=x, y=digits.target)

    finetune = {"epochs": 4, "batch_size": 32, "learning_rate": 0.02}
    study = pruneaudit.Study(
        name="own-training",
        data={"source": "npz:digits.npz", "num_samples": 600},
        membership={"num_models": 6},
        model=digits_code.net,
        training={"function": digits_code.train},
        releases=[
            {"name": "control", "finetune": finetune},
            {"name": "pruned", "compress": "l1unstructured", "sparsity": 0.9, "finetune": finetune},
        ],
        audit={"attacks": ["loss", "lira"]},
    )
    here = pruneaudit.Runtime(executor="serial")  # networks this small train sooner than worker processes start
    run = pruneaudit.run(study, runtime=here)
    findings = run.audit.findings
    shown = findings[(findings["victim"] == "mean") & (findings["references"] == "matched")]
    shown = shown[["release", "attack", "test_accuracy", "auc", "auc_low", "auc_high"]]
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    print(f"report: {run.report}")


if __name__ == "__main__":
    main()
