"""What people's grades and votes come to: their agreement, a judge's with them, and the ranking of runs."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Mapping, Sequence

from llmops_tui.datasets.agreement import cohen_kappa, krippendorff_alpha, quadratic_kappa
from llmops_tui.evaluation.grading.records import GradeAgreement, Kappas, Ranking, RankRecord
from llmops_tui.evaluation.grading.sheets import FIRST, SECOND, TIE, GradeSheet, VoteSheet
from llmops_tui.evaluation.statistics.bradley_terry import Contest, bradley_terry

_SHARE = {FIRST: 1.0, SECOND: 0.0, TIE: 0.5}


def grades_by_item(sheet: GradeSheet) -> dict[str, dict[str, int]]:
    """The grade of each person, by item."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for said in sheet.all_said():
        found[said.item][said.grader] = int(said.value)
    return dict(found)


def agreement_of(sheet: GradeSheet) -> GradeAgreement:
    """How far people agree by a sheet's criterion, and the metric of that name with them."""
    items = grades_by_item(sheet)
    names = sorted({who for grades in items.values() for who in grades})
    metric = sheet.criterion.metric
    scores: dict[str, float] = {}
    for id_ in items if metric else ():
        score = sheet.items[id_].result.scores.get(metric)
        if score is not None and score.value is not None:
            scores[id_] = score.value
    pairs = {
        f"{a} · {b}": _kappas([(g[a], g[b]) for g in items.values() if a in g and b in g])
        for n, a in enumerate(names)
        for b in names[n + 1 :]
    }
    judged = {
        who: _kappas([(scores[i], g[who]) for i, g in items.items() if i in scores and who in g]) for who in names
    }
    means = [(scores[i], sum(g.values()) / len(g)) for i, g in items.items() if i in scores]
    said: list[Mapping[str, Hashable]] = list(items.values())
    return {
        "criterion": sheet.criterion.name,
        "scale": [sheet.criterion.low, sheet.criterion.high],
        "graders": {name: sum(name in grades for grades in items.values()) for name in names},
        "answers": len(sheet.items),
        "with_several": sum(len(grades) > 1 for grades in items.values()),
        "alpha": {
            "nominal": krippendorff_alpha(said),
            "ordinal": krippendorff_alpha(said, "ordinal"),
            "interval": krippendorff_alpha(said, "interval"),
        },
        "pairs": {name: found for name, found in pairs.items() if found["n"]},
        "metric": metric,
        "judge": {name: found for name, found in judged.items() if found["n"]},
        "judge_mean": _kappas(means) if means else None,
    }


def _kappas(both: Sequence[tuple[float, float]]) -> Kappas:
    """Kappa over grades rounded to whole ones, and with quadratic weights over grades as they are."""
    left, right = [a for a, _ in both], [b for _, b in both]
    return {
        "n": len(both),
        "kappa": cohen_kappa([_whole(a) for a in left], [_whole(b) for b in right]),
        "kappa_quadratic": quadratic_kappa(left, right),
    }


def _whole(grade: float) -> int:
    """Rounded as people do: a half upwards."""
    return math.floor(grade + 0.5)


def ranking_of(sheet: VoteSheet) -> Ranking:
    """Runs by people's votes, the best first, each with the chance to win over the best."""
    said = sheet.all_said()
    runs = {run.name: run for item in sheet.items.values() for run in (item.first.run, item.second.run)}
    names = list(runs)
    cases: dict[str, int] = {}
    contests = []
    by_item: dict[str, dict[str, str]] = defaultdict(dict)
    counts: Counter[str] = Counter()
    for one in said:
        pair = sheet.items[one.item]
        by_item[one.item][one.grader] = one.value
        key = pair.first.result.case.key
        sides = [pair.first.run.name, pair.second.run.name]
        counts.update(sides)
        first, second = (names.index(side) for side in sides)
        contests.append(Contest(first, second, _SHARE[one.value], cases.setdefault(key, len(cases))))
    # Runs that nobody voted about have no place.
    voted = [name for name in names if counts[name]]
    renumbered = {names.index(name): i for i, name in enumerate(voted)}
    contests = [Contest(renumbered[c.first], renumbered[c.second], c.share, c.cluster) for c in contests]
    found = bradley_terry(contests, len(voted))
    order = sorted(range(len(voted)), key=lambda i: -found.values[i] if not found.reason else i)
    ranked: list[RankRecord] = []
    for i in order:
        low, high = found.interval(i)
        chance = found.chance(i, order[0]) if i != order[0] else (math.nan,) * 3
        ranked.append(
            {
                "run": voted[i],
                "column": runs[voted[i]].column,
                "votes": counts[voted[i]],
                "strength": _number(float(found.values[i])),
                "low": _number(low),
                "high": _number(high),
                "chance": _number(chance[0]),
                "chance_low": _number(chance[1]),
                "chance_high": _number(chance[2]),
            }
        )
    people: list[Mapping[str, Hashable]] = list(by_item.values())
    return {
        "criterion": sheet.criterion.name,
        "graders": dict(Counter(one.grader for one in said)),
        "votes": len(said),
        "ties": sum(one.value == TIE for one in said),
        "cases": len(cases),
        "runs": ranked,
        "alpha": krippendorff_alpha(people),
        "reason": found.reason,
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
