"""All attacks on one release: AUC with its interval."""

from __future__ import annotations

from pruneaudit.evaluation.results import Results
from pruneaudit.report.paper.points import point
from pruneaudit.report.paper.style import Chart, cut, cut_all, error_lengths, guessing_style, look, new_figure, settle
from pruneaudit.report.quantities import AUC
from pruneaudit.report.selection import attack_order, base_release, finding, references_shown
from pruneaudit.report.words import attack_name

_ROW_INCHES = 0.2
_AROUND_INCHES = 0.75
_LABEL_INCHES = 1.45


def attacks(results: Results) -> Chart | None:
    """A dot per attack on the release that others are held against, in declared order; None where none has an AUC."""
    release = base_release(results)
    points = {attack: point(finding(results, release, attack), AUC) for attack in attack_order(results)}
    drawn = [(index, attack, found) for index, (attack, found) in enumerate(points.items()) if found is not None]
    if not drawn:
        return None
    figure, (axes,) = new_figure()
    for place, (index, _, found) in enumerate(drawn):
        style = look(index)
        axes.errorbar(
            found.value, place, xerr=error_lengths([found]), color=style.colour, marker=style.marker, elinewidth=0.9
        )
    axes.axvline(0.5, **guessing_style())
    axes.set_yticks(range(len(drawn)), cut_all((attack_name(attack) for _, attack, _ in drawn), _LABEL_INCHES))
    axes.set_ylim(len(drawn) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel("AUC (dashed: guessing)")
    references = references_shown(results)
    figure.suptitle(f"{cut(release)}\n{cut(f'references: {references}')}", x=0.01, horizontalalignment="left")
    settle(figure, _AROUND_INCHES + _ROW_INCHES * len(drawn))
    caption = (
        f"AUC of every attack on {release} (references: {references}), mean over victims with 95% intervals; attacks "
        "in the order in which the study declares them."
    )
    return Chart("attacks", caption, figure)
