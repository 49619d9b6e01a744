"""Puts a certificate into words: the outcome, the networks that it covers, and why other candidates were not chosen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pruneaudit.evaluation.certificate import FIXED_SEQUENCE, Candidate, Certificate, PassedOver
from pruneaudit.evaluation.limit_test import LimitTest
from pruneaudit.evaluation.limits import ACCURACY, Limits
from pruneaudit.evaluation.search_path import Rung
from pruneaudit.metrics.intervals import FEW_MODELS
from pruneaudit.report.conclusions.certificate import (
    Naive,
    NotChosen,
    failure,
    limited,
    needed_models,
    needed_samples,
    open_tests,
    worst,
)
from pruneaudit.report.quantities import TEST_ACCURACY, Quantity, bytes_text, quantities_of
from pruneaudit.report.words import attack_name, counted, listed, verb
from pruneaudit.study.audit import MATCHED

BEST = {"bytes": "the smallest", "macs": "the one that needs the fewest operations", "leakage": "the least leaking"}
"""The best candidate in words, by `Limits.minimize`."""
BETTER = {"bytes": "smaller", "macs": "cheaper", "leakage": "less leaking, by the search"}
_NO_WORSE = {"bytes": "no larger", "macs": "needs no more operations", "leakage": "leaks no more"}
_SIZES = {"bytes": "size", "macs": "operations"}
NO_PRIVACY = (
    "It is not a guarantee of differential privacy. The figures are means over members: single members can be much "
    "easier"
    " to find than the mean."
)
APPROXIMATE = " With so few networks, this probability is approximate."
STRONGER = "A stronger attack, better references or other samples can find more."


def quantity_of(figure: str) -> Quantity:
    """The name and format of a figure of a certificate."""
    return TEST_ACCURACY if figure == ACCURACY else quantities_of([figure])[0]


def percent(rate: float) -> str:
    """`5%`, `2.5%`."""
    return f"{100 * rate:g}%"


def title_words(certificate: Certificate) -> str:
    """The outcome in a line."""
    chosen = certificate.chosen
    return "No network was certified" if chosen is None else f"Chosen: {chosen.name}"


def outcome_words(certificate: Certificate) -> tuple[str, ...]:
    """What was shown: of the chosen network with all its figures, or why there is none."""
    chosen = certificate.chosen
    if chosen is None:
        return _none_words(certificate)
    scope, sizes = certificate.scope, size_words(chosen, certificate.limits)
    made = f" ({chosen.description})" if chosen.description else ""
    number = len(certificate.certified)
    confidence = percent(1 - certificate.limits.alpha)
    said = [f"{chosen.name}{made} is shown to keep all limits, at a confidence of {confidence}."]
    said += [f"{statement_words(test)}." for test in limited(chosen)]
    if sizes:
        largest = "" if scope.is_target else f" in the largest of {counted(scope.num_confirm_models, 'network')}"
        said.append(f"{sizes}{largest}.")
    if number > 1:
        said.append(f"It is {BEST[certificate.limits.minimize]} of {number} certified networks.")
    return tuple(said)


def statement_words(test: LimitTest) -> str:
    """A figure with its one-sided bound and its limit: `TPR at 1% FPR under RMIA: 3.1%, at most 4.2% (limit 5.0%)`."""
    quantity = quantity_of(test.figure)
    name = f"{quantity.title}{_under(test)}"
    if test.value is None:
        return f"{name}: no figure ({test.suppressed})"
    side = "at most" if test.is_upper else "at least"
    bound = "" if test.bound is None else f", {side} {quantity.value(test.bound)}"
    limit = "" if test.limit is None else f" (limit: {side} {quantity.value(test.limit)})"
    return f"{name}: {quantity.value(test.value)}{bound}{limit}"


def _under(test: LimitTest) -> str:
    if not test.attack:
        return ""
    kind = "" if test.references in ("", MATCHED) else f" with references {test.references}"
    return f" under {attack_name(test.attack)}{kind}"


def size_words(candidate: Candidate, limits: Limits) -> str:
    """`Size: 12.3 kB (limit: at most 20.0 kB)`; operations where these are limited or small."""
    parts = []
    for name in ("bytes", "macs"):
        value, limit = getattr(candidate, name), limits.sizes.get(name)
        if value is None or (name == "macs" and limit is None and limits.minimize != "macs"):
            continue
        shown = "" if limit is None else f" (limit: at most {size_text(name, limit)})"
        parts.append(f"{_SIZES[name]} {size_text(name, value)}{shown}")
    text = ", ".join(parts)
    return f"{text[0].upper()}{text[1:]}" if text else ""


def size_text(name: str, value: float) -> str:
    """A number of bytes or of multiply-accumulates."""
    return bytes_text(value) if name == "bytes" else f"{value:,.0f} multiply-accumulates"


def _none_words(certificate: Certificate) -> tuple[str, ...]:
    failed = failure(certificate)
    if failed is None:
        if any(one.outcome == "too large" for one in certificate.judged):
            return ("All candidates of the list are too large on the networks that confirm.",)
        return ("In the search, no candidate kept all limits by its estimates, so nothing was confirmed.",)
    said = [f"{failed.candidate.name} was the safest candidate of the search, and is not shown to keep all limits."]
    said += [f"{statement_words(test)}; p = {test.p_value:.2g}." for test in open_tests(certificate)]
    return (*said, *further_words(certificate))


def further_words(certificate: Certificate) -> tuple[str, ...]:
    """How many models, or samples, would settle the first failure; empty if more would not, or nothing failed."""
    failed, models, samples = failure(certificate), needed_models(certificate), needed_samples(certificate)
    if failed is None or (models is None and samples is None):
        return ()
    if samples is not None:
        needed = f"about {samples:,} audited samples (data.num_samples)"
    else:
        needed = f"at least {models:,} models in all (membership.num_models)"
    stayed = f"If the figures of {failed.candidate.name} stayed as they are"
    return (f"{stayed}, {needed} would show that it keeps the limits.",)


def not_chosen_words(one: NotChosen, limits: Limits) -> str:
    """Why a candidate was not chosen."""
    if one.passed is not None:
        return passed_words(one.passed, limits)
    if one.why == "certified":
        return f"certified too; {one.against} is {BETTER[limits.minimize]}"
    if one.why == "not tested":
        return f"not tested: {one.against}, safer by the search, failed first"
    if one.why == "too large":
        return "too large on the networks that confirm"
    return f"not shown to keep its limits: {statement_words(one.test)}" if one.test else "no figure has a limit"


def passed_words(one: PassedOver, limits: Limits) -> str:
    """Why the search passed a candidate over."""
    where = "" if one.rung is None else f" in rung {one.rung + 1}"
    if one.why in ("accuracy", "leakage"):
        return f"breaks a limit{where}: {_value_words(one)}" if one.figure else f"breaks a limit{where}"
    if one.why == "too large":
        size = f": {size_text(one.figure, one.value)}" if one.figure in _SIZES and one.value is not None else ""
        return f"too large{where}{size}"
    if one.why == "raced out":
        return f"clearly leaks more than {one.against}{where}, which is no larger{_difference_words(one)}"
    if one.why == "halved":
        return f"not in the better part of rung {(one.rung or 0) + 1}"
    if one.why == "better one":
        return f"{one.against} is at least as safe by the search, and {_NO_WORSE[limits.minimize]}"
    if one.why == "many":
        return "the list to confirm was full"
    return f"could not be made: {one.detail}" if one.detail else "could not be made"


def _value_words(one: PassedOver) -> str:
    quantity = quantity_of(one.figure)
    value = "no figure" if one.value is None else quantity.value(one.value)
    under = f" under {attack_name(one.attack)}" if one.attack else ""
    side = "at least" if one.figure == ACCURACY else "at most"
    limit = "" if one.limit is None else f" (limit: {side} {quantity.value(one.limit)})"
    return f"{quantity.title}{under} {value}{limit}"


def _difference_words(one: PassedOver) -> str:
    if one.difference is None or not one.figure:
        return ""
    quantity = quantity_of(one.figure)
    bound = "" if one.bound is None else f", at least {quantity.difference(one.bound)}"
    return f" ({quantity.title} {quantity.difference(one.difference)}{bound})"


def meaning_words(certificate: Certificate) -> tuple[str, ...]:
    """What the certificate is about, and what it does not say."""
    scope, alpha = certificate.scope, percent(certificate.limits.alpha)
    said = [_about_words(certificate), _attacks_words(certificate)]
    if certificate.procedure == FIXED_SEQUENCE:
        order = "The order of the list was fixed by the search. It was tested in this order until the first failure"
    else:
        order = "The whole list was tested, with Holm's correction"
    approximate = "" if scope.is_target or scope.num_confirm_models >= FEW_MODELS else APPROXIMATE
    said.append(f"{order}. The probability that any certified network breaks a limit is at most {alpha}.{approximate}")
    confidence = percent(1 - certificate.limits.alpha)
    said.append(
        f"Bounds are one-sided, at {confidence}. Each is valid by itself, for a network that was named beforehand. "
        f"For the chosen network, rely on the limits instead."
    )
    return (*said, *earlier_words(certificate), NO_PRIVACY, STRONGER)


def earlier_words(certificate: Certificate) -> tuple[str, ...]:
    """What earlier choices on the same models mean for this one; empty if there were none."""
    number = certificate.scope.num_earlier
    if not number:
        return ()
    times = "an earlier choice was" if number == 1 else f"{number} earlier choices were"
    return (
        f"Before, {times} confirmed on the same models. The error probability of {percent(certificate.limits.alpha)}"
        " is valid for one choice only; for a new certificate, change the study's seed.",
    )


def _about_words(certificate: Certificate) -> str:
    scope = certificate.scope
    if scope.is_target:
        these = (
            f"this model and {verb(scope.num_references, 'this', 'these')} {counted(scope.num_references, 'reference')}"
        )
        return (
            f"It is about {these}. Its error probability covers only the choice of the {scope.num_samples:,} audited"
            " samples. Another training run of the same network, or other references, can give another answer. The"
            " search used other references."
        )
    return (
        "It is about new networks of this recipe, trained and compressed in the same way on other draws of members from"
        f" these {scope.num_samples:,} samples. The search used {counted(scope.num_search_models, 'model')}, the"
        f" confirmation {scope.num_confirm_models:,} others. Both used the same samples."
    )


def _attacks_words(certificate: Certificate) -> str:
    scope = certificate.scope
    if not scope.attacks:
        return "No attack was played."
    attacks = listed([attack_name(label) for label in scope.attacks])
    kinds = listed(list(scope.references))
    count = counted(scope.num_references, "reference")
    each = "" if scope.is_target else " for each network"
    return f"The attacks were fixed before the search: {attacks}, with {count}{each} ({kinds})."


def naive_words(naive: Naive | None, limits: Limits) -> str:
    """What a search without confirmation would have released, and what the confirmation says of it."""
    if naive is None:
        return (
            "Without a confirmation, nothing would have been released: every candidate breaks a limit by its estimates."
        )
    name, figures = naive.searched.name, _figures_words(naive.searched, limits)
    said = f"Without a confirmation, {name} would have been released: {figures}, by the search's own estimates."
    if naive.is_chosen:
        return f"{said} The confirmation agrees."
    if naive.confirmed is None:
        return f"{said} It was not confirmed."
    outcome = "is certified too" if naive.is_certified else "is not shown to keep the limits"
    return f"{said} On the models that confirm it has {_figures_words(naive.confirmed, limits)}, and {outcome}."


def _figures_words(candidate: Candidate, limits: Limits) -> str:
    """The accuracy and the worst of each limited figure: `accuracy 78.2%, TPR at 1% FPR 3.1%, at most 4.4%`."""
    shown = dict.fromkeys([ACCURACY, *(limits.leakage or [limits.ranked_by])])
    parts = []
    for test in (worst(candidate, figure) for figure in shown):
        if test is not None and test.value is not None:
            quantity = quantity_of(test.figure)
            side = "at most" if test.is_upper else "at least"
            bound = "" if test.bound is None else f" ({side} {quantity.value(test.bound)})"
            parts.append(f"{_lower(quantity.title)} {quantity.value(test.value)}{bound}")
    return listed(parts) or "no figures"


def rung_words(rung: Rung) -> str:
    """What happened in a rung: `Rung 1: 40 candidates on 4 models, 3 references each; 20 went on, ...`."""
    counts = Counter(one.why for one in rung.passed_over)
    left = len({one.name for one in rung.candidates} - {one.name for one in rung.passed_over})
    reasons = ", ".join(f"{number} {_LEFT[why]}" for why, number in counts.items())
    stopped = f" ({reasons})" if reasons else ""
    return (
        f"Rung {rung.number + 1}: {counted(len(rung.candidates), 'candidate')} on"
        f" {counted(len(rung.model_ids), 'model')} with {counted(rung.num_references, 'reference')} each; {left}"
        f" {verb(left, 'was', 'were')} left{stopped}."
    )


_LEFT = {
    "accuracy": "too inaccurate",
    "leakage": "above a limit of leakage",
    "too large": "too large",
    "raced out": "clearly worse than another",
    "halved": "not in the better part",
    "better one": "no better than a safer one",
    "many": "beyond the list",
    "failed": "could not be made",
}


def limits_words(limits: Limits) -> Iterable[str]:
    """Each limit in words, then what is as small as possible."""
    if limits.min_accuracy is not None:
        yield f"test accuracy of at least {percent(limits.min_accuracy)}"
    for figure, limit in limits.leakage.items():
        quantity = quantity_of(figure)
        yield f"{quantity.title} of at most {quantity.value(limit)}"
    for name, size in limits.sizes.items():
        yield f"{_SIZES[name]} of at most {size_text(name, size)}"
    figure = f" ({quantity_of(limits.ranked_by).title})" if limits.minimize == "leakage" else ""
    yield f"as small as possible: {_SIZES.get(limits.minimize, limits.minimize)}{figure}"


def _lower(title: str) -> str:
    """A title inside a sentence; abbreviations stay."""
    return title if title[:2].isupper() else f"{title[0].lower()}{title[1:]}"
