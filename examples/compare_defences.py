"""Compare two defences, and no defence at all, by what they cost in accuracy and what they hide.

Run it where the results shall lie: python compare_defences.py
"""

import pruneaudit

DEFENSES = {"relaxloss": "relaxloss:alpha=0.5", "smoothing": "label_smoothing:alpha=0.3"}


def main() -> None:
    """Runs the study, and prints one line per release and the differences to the undefended networks."""
    study = pruneaudit.Study(
        name="compare-defences",
        data={"source": "digits", "num_samples": 600},
        membership={"num_models": 6},
        model="mlp:hidden=[64]",
        training={"epochs": 20, "batch_size": 32, "learning_rate": 0.1},
        # From new weights: the whole training is defended.
        releases=[{"name": name, "parent": "init", "defense": text} for name, text in DEFENSES.items()],
        # matched: the attacker's own networks have the same defence. Anything less flatters the defence.
        audit={"attacks": ["lira"], "references": ["matched"]},
    )
    here = pruneaudit.Runtime(executor="serial")  # networks this small train sooner than worker processes start
    run = pruneaudit.run(study, runtime=here)
    findings, differences = run.audit.findings, run.audit.comparisons
    shown = findings[findings["victim"] == "mean"][["release", "test_accuracy", "auc", "auc_low", "auc_high"]]
    print(shown.to_string(index=False, float_format="{:.3f}".format))
    # Paired, model by model: an interval that holds 0 has shown no difference.
    against_dense = (differences["baseline"] == "dense") & differences["metric"].isin(["auc", "test_accuracy"])
    columns = ["release", "metric", "difference", "low", "high"]
    print(differences[against_dense][columns].to_string(index=False, float_format="{:+.3f}".format))
    print(f"report: {run.report}")


if __name__ == "__main__":
    main()
