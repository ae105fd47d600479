"""How often the alarm over days is raised without a change of traffic, and how soon with one: months of made vectors.

``SEED MONTHS CHANGED SHARE``. Each day has 60 conversations, of vectors of 16 dimensions, and is compared with 240 of the 28
days before it, as ``llmops drift check`` does. In the changed months ``SHARE`` of the conversations are moved by 1.5 standard
deviations in 6 dimensions from the eleventh day on.
"""

from __future__ import annotations

import argparse
import json

import numpy as np

from llmops_tui.decisions.change_alarm import USUAL_THRESHOLD, course
from llmops_tui.decisions.two_samples import discrepancy

DAY, REFERENCE, PAST, DIMENSIONS = 60, 240, 28, 16


def month(random: np.random.Generator, days: int, share: float, begins: int) -> list[float]:
    """The evidence after each day."""
    past, found = [random.normal(size=(DAY, DIMENSIONS)) for _ in range(PAST)], []
    for day in range(days):
        window = random.normal(size=(DAY, DIMENSIONS))
        if day >= begins:
            window[: round(DAY * share), :6] += 1.5
        before = np.concatenate(past[-PAST:])
        reference = before[random.permutation(len(before))[:REFERENCE]]
        units = np.arange(REFERENCE), np.arange(DAY)
        found.append(discrepancy(reference, window, units, int(random.integers(1 << 30)), permutations=499).p)
        past.append(window)
    return course(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("seed", type=int)
    parser.add_argument("months", type=int)
    parser.add_argument("changed", type=int)
    parser.add_argument("share", type=float)
    asked = parser.parse_args()
    random = np.random.default_rng(asked.seed)
    alarms = sum(max(month(random, 30, 0.0, 30)) >= USUAL_THRESHOLD for _ in range(asked.months))
    delays: list[int | None] = []
    for _ in range(asked.changed):
        evidence = month(random, 17, asked.share, 10)
        delays.append(next((day - 9 for day, one in enumerate(evidence) if day >= 10 and one >= USUAL_THRESHOLD), None))
    found = sorted(delay for delay in delays if delay is not None)
    print(
        json.dumps(
            {
                "months": asked.months, "with_an_alarm": alarms, "changed": asked.changed, "found_within_a_week": len(found),
                "median_days": found[len(found) // 2] if found else None,
            }
        )
    )  # fmt: skip


if __name__ == "__main__":
    main()
