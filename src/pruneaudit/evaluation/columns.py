"""The required columns of result tables. `metrics/` names the columns of figures."""

from __future__ import annotations

_ACCURACIES = ("train_accuracy", "test_accuracy")
FINDING_COLUMNS = (
    *("release", "references", "attack", "variant", "victim"),
    *("auc", "auc_low", "auc_high"),
    *("balanced_accuracy", "balanced_accuracy_low", "balanced_accuracy_high", "advantage"),
    *("num_victims", "num_members", "num_nonmembers", "num_unscored"),
    *(*_ACCURACIES, "sparsity", "suppressed"),
)
"""Columns of every findings table, in addition to those of other metrics, such as TPRs."""
COMPARISON_COLUMNS = (
    *("release", "baseline", "references", "attack", "metric"),
    *("difference", "low", "high", "num_victims"),
)
RELEASE_COLUMNS = (
    *("release", "compress", "defense", "origin", "sparsity", "parameters", "nonzero_parameters"),
    *("train_accuracy", "train_accuracy_low", "train_accuracy_high"),
    *("test_accuracy", "test_accuracy_low", "test_accuracy_high"),
    *("test_accuracy_before", "test_accuracy_after_pruning", "test_accuracy_after_finetuning"),
)
SIZE_COLUMNS = ("effective_bits", "compressed_bytes", "macs", "bit_operations")
"""Bits per weight of the dense network's matrices and bytes of the whole network, both by the entropy bound of
`compression.storage_size`; multiply-accumulates and bit operations of one input."""
LATER_RELEASE_COLUMNS = ("sparsity_all", *SIZE_COLUMNS, "compression_ratio")
"""Also `sparsity_all`, the fraction of all parameters that is zero or removed, and `compression_ratio`, the dense
network's compressed bytes divided by those of the release."""
CURVE_COLUMNS = ("release", "references", "attack", "fpr", "tpr")
CLASS_COLUMNS = (
    *("release", "references", "attack", "class_id", "auc", "auc_low", "auc_high"),
    *("num_victims", "num_members", "num_nonmembers"),
)
ATTACK_COMPARISON_COLUMNS = (
    *("release", "references", "attack", "against", "metric"),
    *("difference", "low", "high", "num_victims"),
)
PPV_COLUMNS = ("release", "references", "attack", "fpr", "prior", "ppv", "low", "high")
LEARNED_PPV_COLUMNS = (
    *("learned_ppv", "learned_ppv_sd", "learned_ppv_min", "learned_ppv_max", "num_accused"),
    *("learned_tpr", "learned_fpr", "learned_fpr_min", "learned_fpr_max", "suppressed"),
)
CANARY_COLUMNS = (
    *("release", "references", "attack", "victim", "figure", "value", "low", "high"),
    *("delta", "guesses", "correct", "num_canaries", "num_victims"),
)
FRONTIER_COLUMNS = (
    *("release", "references", "attack", "metric", "leakage", "leakage_low", "leakage_high"),
    *("test_accuracy", "test_accuracy_low", "test_accuracy_high", "dominated", "is_baseline"),
    *("envelope_release", "difference", "difference_low", "difference_high", "num_victims", "suppressed"),
)
EQUAL_SIZE_COLUMNS = (
    *("compressed_bytes", "size_release", "size_difference", "size_difference_low", "size_difference_high"),
    "size_suppressed",
)
"""The same at equal size: the release's compressed bytes, and the one of at most these that leaks least."""
DETECTION_CHANGE_COLUMNS = (
    *("release", "baseline", "attack", "fpr", "class", "newly_detected", "no_longer_detected", "detected_before"),
    *("num_samples", "p_value", "noise_newly", "noise_no_longer"),
)
LATER_DETECTION_CHANGE_COLUMNS = ("disjoint_references", "suppressed")
"""The smallest number of references of any victim, where each half of the bank is the references of the other; missing
where the references of findings are used."""
SAMPLE_DETECTION_COLUMNS = (
    *(
        "release",
        "baseline",
        "sample_id",
        "class_id",
        "detection_rate_before",
        "detection_rate_after",
        "change",
        "num_victims",
    ),
)
OUTPUT_COLUMNS = (
    *("release", "references", "attack", "outputs", "metric", "value", "low", "high"),
    *("difference", "difference_low", "difference_high", "num_victims", "tied", "suppressed"),
)
POWER_COLUMNS = (
    *("release", "references", "attack", "kind", "num_references", "samples", "metric", "value", "low", "high"),
    *("difference", "difference_low", "difference_high", "lowest", "highest"),
    *("share_scored", "num_subsets", "num_victims", "suppressed"),
)
FAMILY_COLUMNS = (
    *("family", "releases", "num_releases", "references", "attack", "metric", "value", "low", "high", "num_victims"),
    *("best_part", "difference", "difference_low", "difference_high", "suppressed"),
)
MARGINAL_COLUMNS = (
    *("family", "given", "added", "references", "attack", "metric", "difference", "low", "high", "num_victims"),
    *("p_value", "p_adjusted", "step", "repeats", "post_processing_of", "suppressed"),
)
RELEASE_SEPARATOR = "; "
"""Between the releases of a set, in one cell."""
VERDICT_COLUMNS = (
    *("kind", "release", "references", "victim", "score", "fdr", "num_victims", "num_records", "num_nulls"),
    *("num_references", "smallest_p", "fewest", "num_named", "num_named_nonmembers", "share_nonmembers"),
    *("share_found", "largest_p", "ppv_at_1%", "ppv_at_10%", "ppv_at_50%"),
    *("agreement_named", "agreement_found", "repeats", "stability", "suppressed"),
)
TABLES = {
    "findings": FINDING_COLUMNS,
    "comparisons": COMPARISON_COLUMNS,
    "releases": RELEASE_COLUMNS,
    "curves": CURVE_COLUMNS,
    "classes": CLASS_COLUMNS,
    "ppv": PPV_COLUMNS,
    "attack_comparisons": ATTACK_COMPARISON_COLUMNS,
    "canaries": CANARY_COLUMNS,
    "frontier": FRONTIER_COLUMNS,
    "detection_changes": DETECTION_CHANGE_COLUMNS,
}
"""The columns that each table must have."""
LATER_CANARY_COLUMNS = ("thresholds", "hypothesis")
LATER_FINDING_COLUMNS = ("num_trainings",)
"""Number of networks to train for one score, in addition to the attacked one; see `Attack.num_trainings`."""
LATER_COLUMNS = {
    "findings": LATER_FINDING_COLUMNS,
    "canaries": LATER_CANARY_COLUMNS,
    "frontier": EQUAL_SIZE_COLUMNS,
    "ppv": LEARNED_PPV_COLUMNS,
    "releases": LATER_RELEASE_COLUMNS,
    "detection_changes": LATER_DETECTION_CHANGE_COLUMNS,
}
"""Columns that tables of older runs lack; they are read as missing."""
LONG_TABLES = {"sample_detection": SAMPLE_DETECTION_COLUMNS}
"""Tables with a row per sample: they have separate files and are not in findings.json."""
OPTIONAL_TABLES = {
    "outputs": OUTPUT_COLUMNS,
    "power": POWER_COLUMNS,
    "families": FAMILY_COLUMNS,
    "marginal_leakage": MARGINAL_COLUMNS,
    "verdicts": VERDICT_COLUMNS,
}
"""Tables that are written only if they have rows: most audits do not ask for them."""
TEXT_COLUMNS = frozenset(
    (
        "release",
        "references",
        "attack",
        "outputs",
        "kind",
        "samples",
        "against",
        "variant",
        "victim",
        "figure",
        "suppressed",
        "size_suppressed",
        "thresholds",
        "hypothesis",
        "baseline",
        "metric",
        "score",
        "envelope_release",
        "size_release",
        "class",
        "sample_id",
        "compress",
        "defense",
        "origin",
        "family",
        "releases",
        "best_part",
        "given",
        "added",
        "repeats",
        "post_processing_of",
    )
)
"""Columns of text; all others hold numbers."""
MEAN, POOLED = "mean", "pooled"
"""Values of the column `victim` other than model ids: the mean over victims, and all pairs of victim and sample."""
