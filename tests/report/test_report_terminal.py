import io
import re

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from pruneaudit.report.terminal import print_results


def printed(results, width=80, **options):
    stream = io.StringIO()
    print_results(results, Console(file=stream, width=width, **options))
    return stream.getvalue()


def test_at_80_columns_every_number_stands_in_one_piece(results):
    text = printed(results)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "\x1b" not in text
    assert "…" not in text
    for _, row in results.findings[results.findings["victim"] == "mean"].iterrows():
        rate = [100 * row[f"tpr_at_1%_fpr{end}"] for end in ("", "_low", "_high")]
        figures = f"{row['auc']:.3f} [{row['auc_low']:.3f}, {row['auc_high']:.3f}]"
        pattern = rf"^  {row['attack']} +{re.escape(figures)} +{re.escape('{:.1f}% [{:.1f}, {:.1f}]'.format(*rate))} *$"
        assert re.search(pattern, text, re.MULTILINE), (row["attack"], figures)
    assert re.search(r"^l1unstructured-0\.9 +90% sparsity +78\.9% accuracy *$", text, re.MULTILINE)


@pytest.mark.parametrize("width", [24, 40, 60, 75, 79, 200])
def test_at_any_width_no_digit_is_lost(results, width):
    def digits(text):
        return sorted(re.findall(r"\d", text))

    text = printed(results, width)
    assert "…" not in text
    assert digits(text) == digits(printed(results, 120))


def test_the_answer_follows_the_table(results):
    words = " ".join(printed(results).split())
    assert "LiRA tells members from non-members: AUC 0.720 [0.708, 0.732]" in words
    assert "l1unstructured-0.9: Pruned to 90% sparsity. The networks leak less under LiRA" in words
    assert words.index("Release / attack") < words.index("The dense networks leak")


def test_both_sparsities_and_what_was_left_whole_are_said(make_results):
    def edit(parts):
        parts["releases"]["sparsity_all"] = [0.0, 0.0, 0.24]
        whole = [{"name": "words", "weights": 1200, "why": "a table of embeddings"}]
        parts["about"]["release_report"] = {"releases": [{"name": "l1unstructured-0.9", "left_whole": whole}]}

    text = printed(make_results(edit))
    assert re.search(
        r"^l1unstructured-0\.9 +90% sparsity \(24% of all parameters\) +78\.9% accuracy *$", text, re.MULTILINE
    )
    words = " ".join(text.split())
    assert "Pruned to 90% sparsity (24% of all parameters)" in words
    assert "l1unstructured-0.9: words (1,200 weights; a table of embeddings)" in words


def test_a_demonstration_says_so(make_results):
    words = " ".join(printed(make_results(lambda parts: parts["about"].update(demonstration=True))).split())
    assert "these numbers describe these networks, not yours" in words
    assert "demonstration" not in printed(make_results())


def test_a_refused_figure_is_a_dash_with_its_reason_below(make_results):
    def edit(parts):
        table = parts["findings"]
        for end in ("", "_low", "_high"):
            table[f"tpr_at_1%_fpr{end}"] = np.nan
        table["suppressed"] = "TPR at 1% FPR: too few non-members"

    text = printed(make_results(edit))
    assert re.search(r"^  lira +0\.720 \[0\.708, 0\.732\] +- \(1\) *$", text, re.MULTILINE)
    assert "(1) TPR at 1% FPR: too few non-members" in text
    assert "nan" not in text


def test_names_neither_steer_the_terminal_nor_push_numbers_out(make_results):
    name = "\x1b[31m[bold]" + "x" * 290

    def rename(parts):
        for table in ("findings", "comparisons", "releases", "curves"):
            parts[table] = parts[table].replace({"l1unstructured-0.9": name})

    text = printed(make_results(rename))
    assert "\x1b" not in text
    assert "x1b[31m[bold]" in text
    assert text.count("x") >= 2 * 290
    assert "0.630 [0.618, 0.642]" in text


def test_only_mean_rows_are_shown(results):
    assert printed(results).count("  lira ") == 3


def test_colour_is_for_terminals_alone(results):
    assert "\x1b[" in printed(results, force_terminal=True, color_system="truecolor")


def test_an_attack_that_finds_more_is_named(make_results):
    row = {"release": "dense", "references": "matched", "attack": "rmia", "against": "lira", "metric": "auc"}
    row |= {"difference": 0.15, "low": 0.12, "high": 0.18, "num_victims": 16}
    text = printed(make_results(lambda parts: parts.update(attack_comparisons=pd.DataFrame([row]))))
    assert "AUC +0.150 [+0.120, +0.180]" in " ".join(text.split())
    assert "finds more" not in printed(make_results())
