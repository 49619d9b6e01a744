"""Which releases of a run decide each question: chosen by what they are, not by their names.

So any finished run can be judged, a user's own too. The first comparison of a question is the deciding one, the second
gives another verdict, and the others are shown beside them, as the papers compared or at other degrees.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from pruneaudit.engine.assemble import undefended_dense
from pruneaudit.study import DENSE, Plugin, Release, Study
from pruneaudit.study.baselines import baselines
from pruneaudit.study.lineage import (
    counterparts,
    defenses_of,
    inherited_compress,
    origin_of,
    way_of,
)

Way = Literal["paired", "together", "equal accuracy"]
SPARSITY, BITS, STRENGTH = 0.7, 2, 4.0
"""The degrees that decide: the published default of pruning, the fewest bits, and the published strength of PPB."""
FEW_BITS = 4
"""More bits than these are not called lower precision."""


@dataclass(frozen=True)
class Comparison:
    """Two figures to compare: L(after) - L(before), or L(after) minus the least leakage at equal accuracy."""

    way: Way
    after: tuple[str, ...]
    """One release; with `together`, those that one attacker sees."""
    before: tuple[str, ...] = ()
    """One release; with `together`, those that one attacker sees; at equal accuracy, the undefended dense ones."""
    share: float = 1.0
    """What is compared is (L(after) - .5) - share (L(before) - .5)."""


@dataclass(frozen=True)
class Question:
    """The comparisons of one question in one run."""

    deciding: Comparison
    second: Comparison | None = None
    """Gives another verdict: at equal accuracy, or against a second release without compression."""
    beside: tuple[Comparison, ...] = ()
    """Shown without a verdict."""


class NotTestedError(Exception):
    """A run lacks what a question needs; the message says what."""


@dataclass(frozen=True)
class Releases:
    """What the releases of a run are."""

    study: Study
    """With the baselines that were added."""

    @property
    def undefended(self) -> list[Release]:
        """Compressed releases without a defence, made from the dense networks by one method."""
        return [
            release
            for release in self.study.releases
            if len(release.compress) == 1
            and release.parent == DENSE
            and not release.weights
            and not defenses_of(self.study, release)
            and not inherited_compress(self.study, release)
        ]

    def in_way(self, *ways: str) -> list[Release]:
        """Those of `undefended` that were compressed in one of these ways."""
        return [release for release in self.undefended if way_of(self.study, release) in ways]

    def baseline(self, release: Release) -> str:
        """The same release without its compression; empty if there is none."""
        found = baselines(self.study)
        return found[release.name].name if release.name in found else ""

    def at_equal_accuracy(self, release: Release, share: float = 1.0) -> Comparison:
        """A release against the undefended dense ones."""
        return Comparison("equal accuracy", (release.name,), tuple(undefended_dense(self.study)), share)

    def paired(self, release: Release, other: str, share: float = 1.0) -> list[Comparison]:
        """A release against another one; nothing without another."""
        return [Comparison("paired", (release.name,), (other,), share)] if other and other != release.name else []


def pruning(releases: Releases) -> Question:
    """Pruned to 70% by magnitude and trained further, against the same training without pruning."""
    pruned = releases.in_way("pruning")
    trained = [release for release in pruned if release.finetune and origin_of(release) == "own-dense"]
    once = [release for release in trained if release.compress[0].name == "l1unstructured"]
    chosen = _nearest(once, "sparsity", SPARSITY)
    if chosen is None:
        raise NotTestedError("no release is pruned by l1unstructured and then trained further")
    deciding = releases.paired(chosen, releases.baseline(chosen))
    if not deciding:
        raise NotTestedError(f"'{chosen.name}' has no baseline")
    beside = releases.paired(chosen, DENSE)
    for release in pruned:
        if release is not chosen:
            beside += releases.paired(release, releases.baseline(release) or DENSE)
            if release.compress[0].name == "iterative":  # it trains in rounds, which its baseline does not have
                beside += releases.paired(release, DENSE)
    return Question(deciding[0], releases.at_equal_accuracy(chosen), tuple(beside))


def one_more(releases: Releases) -> Question:
    """The release of `pruning` beside the dense one, against the dense one alone."""
    deciding = pruning(releases).deciding
    chosen, baseline = deciding.after[0], deciding.before[0]
    second = Comparison("together", (DENSE, chosen), (DENSE, baseline)) if baseline != DENSE else None
    beside = [Comparison("together", (DENSE, baseline), (DENSE,))] if baseline != DENSE else []
    further = [release.name for release in _made_from_dense(releases) if release.name != chosen]
    beside += [Comparison("together", (DENSE, name), (DENSE,)) for name in further]
    return Question(Comparison("together", (DENSE, chosen), (DENSE,)), second, tuple(beside))


def several(releases: Releases) -> Question:
    """All releases that were pruned, quantised or clustered, beside the dense one."""
    compressed = _made_from_dense(releases)
    if len(compressed) < 2:
        raise NotTestedError(f"needs two releases pruned, quantised or clustered from dense, found {len(compressed)}")
    names = tuple(release.name for release in compressed)
    plain = tuple(dict.fromkeys(releases.baseline(release) or DENSE for release in compressed))
    uncompressed = (DENSE, *(name for name in plain if name != DENSE))
    second = Comparison("together", (DENSE, *names), uncompressed) if len(uncompressed) > 1 else None
    beside = [Comparison("together", uncompressed, (DENSE,))] if second else []
    beside.append(Comparison("together", names, (DENSE,)))
    return Question(Comparison("together", (DENSE, *names), (DENSE,)), second, tuple(beside))


def precision(releases: Releases) -> Question:
    """Rounded to 2 bits after training, against the network before."""
    rounded = [release for release in releases.in_way("quantisation") if release.finetune is None]
    corrected = [release for release in rounded if release.compress[0].name == "gptq"]
    chosen = _nearest(corrected, "bits", BITS) or _nearest(rounded, "bits", BITS)
    if chosen is None or (_number(chosen.compress[0], "bits") or 0) > FEW_BITS:
        raise NotTestedError("no release is quantised to at most 4 bits after training")
    others = [release for release in rounded if release is not chosen]
    beside = [each for release in others for each in releases.paired(release, release.parent)]
    return Question(releases.paired(chosen, chosen.parent)[0], releases.at_equal_accuracy(chosen), tuple(beside))


def distillation(releases: Releases) -> Question:
    """A student on its teacher's members, against the same network from scratch."""
    students = [release for release in releases.undefended if release.has_teacher]
    on_members = [release for release in students if release.compress[0].options.get("data") == "members"]
    if not on_members:
        raise NotTestedError("no release is a student that was distilled on members")
    chosen = on_members[0]
    deciding = releases.paired(chosen, releases.baseline(chosen), 0.5)
    if not deciding:
        raise NotTestedError(f"'{chosen.name}' has no baseline")
    beside = [*releases.paired(chosen, releases.baseline(chosen)), *releases.paired(chosen, DENSE, 0.5)]
    for release in students:
        if release is not chosen:
            beside += releases.paired(release, releases.baseline(release), 0.5)
    return Question(deciding[0], releases.at_equal_accuracy(chosen, 0.5), tuple(beside))


def ppb(releases: Releases) -> Question:
    """PPB of the published strength in the training after pruning to 70%."""
    pruned = [release for release in _defended(releases, "ppb") if len(release.compress) == 1]
    chosen = min(
        (release for release in pruned if _number(release.compress[0], "sparsity") is not None),
        key=lambda release: (
            abs((_number(release.compress[0], "sparsity") or 0.0) - SPARSITY),
            abs(_strength(release) - STRENGTH),
        ),
        default=None,
    )
    if chosen is None:
        raise NotTestedError("no release is pruned and trained with PPB")
    return _of_defense(releases, chosen, _defended(releases, "ppb"))


def relaxloss(releases: Releases) -> Question:
    """RelaxLoss in the training of dense networks; of several levels, the first in the study."""
    dense = [release for release in _defended(releases, "relaxloss") if not release.compress]
    if not dense:
        raise NotTestedError("no uncompressed release is trained with RelaxLoss")
    return _of_defense(releases, dense[0], _defended(releases, "relaxloss"))


QUESTIONS: Mapping[str, Callable[[Releases], Question]] = {
    "pruning": pruning,
    "one more": one_more,
    "several": several,
    "precision": precision,
    "distillation": distillation,
    "ppb": ppb,
    "relaxloss": relaxloss,
}


def _made_from_dense(releases: Releases) -> list[Release]:
    """CompLeak's three ways: pruned, quantised or clustered from the dense networks' weights."""
    found = releases.in_way("pruning", "quantisation", "clustering")
    return [release for release in found if origin_of(release) == "own-dense"]


def _defended(releases: Releases, name: str) -> list[Release]:
    return [release for release in releases.study.releases if release.defense and release.defense.name == name]


def _of_defense(releases: Releases, chosen: Release, all_of_it: Iterable[Release]) -> Question:
    """A defended release at equal accuracy; beside it, others of the defence, and each against its counterpart."""
    plain, beside = counterparts(releases.study), []
    for release in (chosen, *(other for other in all_of_it if other is not chosen)):
        beside += [releases.at_equal_accuracy(release)] if release is not chosen else []
        beside += releases.paired(release, _there(releases.study, plain[release.name]))
    return Question(releases.at_equal_accuracy(chosen), None, tuple(beside))


def _there(study: Study, name: str) -> str:
    return name if name == DENSE or any(release.name == name for release in study.releases) else ""


def _nearest(releases: Iterable[Release], degree: str, wanted: float) -> Release | None:
    """The first release whose degree is nearest to the wanted one; those without a number do not count."""
    known = [(release, _number(release.compress[0], degree)) for release in releases]
    numbers = [(release, number) for release, number in known if number is not None]
    return min(numbers, key=lambda pair: abs(pair[1] - wanted), default=(None, 0.0))[0]


def _number(plugin: Plugin, option: str) -> float | None:
    value: Any = plugin.options.get(option)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _strength(release: Release) -> float:
    found = _number(release.defense, "strength") if release.defense else None
    return STRENGTH if found is None else found
