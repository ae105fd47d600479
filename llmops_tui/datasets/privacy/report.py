"""The personal data of a dataset: counts and places by kind, and what was not searched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from itertools import chain

from llmops_tui.counts import counted
from llmops_tui.datasets.privacy.replacement import beside_texts
from llmops_tui.datasets.progress import Report, no_report
from llmops_tui.datasets.records import texts
from llmops_tui.datasets.reports import PersonalData, PersonalExample
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.privacy.detection import KINDS, find_personal, not_searched
from llmops_tui.privacy.replacement import readable

_EXAMPLES = 5


def find_in_version(
    version: DatasetVersion, kinds: tuple[str, ...] = KINDS, report: Report = no_report
) -> PersonalData:
    """Counts by kind, some places of each, and the number of rows that hold any; values are shown half hidden."""
    counts: Counter[str] = Counter()
    rows_with: Counter[str] = Counter()
    examples: dict[str, list[PersonalExample]] = {}
    touched = 0
    done = 0
    names: dict[str, None] = {}
    for batch in version.read():
        for number, row in batch:
            names.update(dict.fromkeys(row))
            seen = set()
            for place, text in chain(texts(version.kind, row), beside_texts(row)):
                said = readable(text)
                for span in find_personal(said, kinds):
                    counts[span.kind] += 1
                    seen.add(span.kind)
                    shown = examples.setdefault(span.kind, [])
                    if len(shown) < _EXAMPLES:
                        shown.append({"row": number, "place": place, "text": half_hidden(said[span.start : span.end])})
            rows_with.update(seen)
            touched += bool(seen)
        done += len(batch)
        report(
            done / max(1, version.rows), f"{done:,} of {counted(version.rows, 'row')}, {touched:,} with personal data"
        )
    numbers = [c.name for c in version.columns if c.type in {"integer", "number"}]
    left_out = not_searched(kinds) + (
        [f"fractions and numbers of less than twelve digits in columns of numbers: {', '.join(numbers)}"]
        if numbers
        else []
    )
    if told := personal_names(names, kinds):
        left_out.append(f"names of columns, which stay as they are: {told}; rename them with data select")
    return {
        "rows": version.rows,
        "rows_with_any": touched,
        "spans": dict(counts),
        "rows_by_kind": dict(rows_with),
        "examples": examples,
        "not_searched": left_out,
    }


def personal_names(names: Iterable[str], kinds: tuple[str, ...] = KINDS) -> str:
    """The names of columns in which anything personal stands, half hidden, each with its kinds."""
    found = {name: sorted({span.kind for span in find_personal(name, kinds)}) for name in names}
    return ", ".join(f"{half_hidden(name)!r} ({', '.join(held)})" for name, held in found.items() if held)


def half_hidden(value: str) -> str:
    """A value that can be recognised by who knows it: its first and last characters."""
    value = " ".join(value.split())
    keep = max(1, min(3, len(value) // 4))
    return value[:keep] + "•" * min(12, len(value) - 2 * keep) + value[-keep:] if len(value) > 2 else "•" * len(value)
