"""The page of a certificate: the outcome, sizes against leakage and accuracy, the list, and the path of the search."""

from __future__ import annotations

from pruneaudit.evaluation.certificate import Certificate
from pruneaudit.evaluation.limits import ACCURACY
from pruneaudit.evaluation.search_path import SearchPath
from pruneaudit.report.conclusions.certificate import limited, naive_choice
from pruneaudit.report.figures.certified import certified_front, rungs_figure
from pruneaudit.report.page.document import filled
from pruneaudit.report.sentences.certificate import (
    limits_words,
    meaning_words,
    naive_words,
    outcome_words,
    size_words,
    statement_words,
    title_words,
)
from pruneaudit.report.tables.certificate import list_table, others_table, path_lines

_TEMPLATE = "certificate.html"


def certificate_page(certificate: Certificate, path: SearchPath) -> str:
    """The page as the text of one HTML file.

    Args:
        certificate: what was shown.
        path: the search before it.
    """
    limits, chosen = certificate.limits, certificate.chosen
    fronts = [certified_front(certificate, path, figure) for figure in (limits.ranked_by, ACCURACY)]
    figures = [figure for figure in fronts if figure is not None]
    rungs = rungs_figure(path, limits)
    context = {
        "name": certificate.scope.study,
        "title": title_words(certificate),
        "chosen": chosen,
        "outcome": outcome_words(certificate),
        "statements": [statement_words(test) for test in limited(chosen)] if chosen else [],
        "size": size_words(chosen, limits) if chosen else "",
        "naive": naive_words(naive_choice(certificate, path), limits),
        "limits": list(limits_words(limits)),
        "meaning": meaning_words(certificate),
        "figures": figures,
        "rungs_figure": rungs,
        "listed": list_table(certificate),
        "others": others_table(certificate),
        "path": path_lines(path, certificate),
        "scope": certificate.scope,
    }
    return filled(_TEMPLATE, context, bool(figures or rungs))
