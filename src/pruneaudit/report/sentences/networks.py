"""Names the attacked networks: the user's own model, one network, or several."""

from __future__ import annotations

from pruneaudit.evaluation.results import Results
from pruneaudit.report.selection import finding, given_baseline, is_one_network, primary_attack, target_of
from pruneaudit.study import DENSE

YOUR_MODEL = "your model"


def networks_of(results: Results, release: str) -> str:
    """`your model`, `the dense networks`, `the prod networks` (a baseline of predictions), or `the network`."""
    if target_of(results) and release == DENSE:
        return YOUR_MODEL
    row = finding(results, release, primary_attack(results))
    alone = row is not None and row["num_victims"] == 1
    whose = f"{release} " if release in (DENSE, given_baseline(results)) else ""
    return f"the {whose}{'network' if alone else 'networks'}"


def networks_in_full(results: Results, release: str) -> str:
    """The same where it is first said: `your model (prod.pt)`."""
    networks = networks_of(results, release)
    return f"{networks} ({target_of(results)['name']})" if networks == YOUR_MODEL else networks


def averaged_words(results: Results) -> str:
    """What figures are, as a part of a title: `mean over victims [95% interval]`."""
    target = target_of(results)
    if target:
        return f"{YOUR_MODEL} ({DENSE}: {target['name']}), value [95% interval]"
    return "one victim, value [95% interval]" if is_one_network(results) else "mean over victims [95% interval]"


def mean_of(results: Results, what: str = "") -> str:
    """The beginning of a caption: `Mean AUC over victims`, or `AUC` of one network; without `what`: `Value`."""
    if is_one_network(results):
        return what or "Value"
    return " ".join(filter(None, ("Mean", what, "over victims")))


def means_words(results: Results) -> str:
    """What points in a figure are: means over networks, or values of one."""
    return "values" if is_one_network(results) else "means"


def paired_on(results: Results) -> str:
    """What paired differences share: `networks and samples`, or `samples` where there is one network."""
    return "samples" if is_one_network(results) else "networks and samples"
