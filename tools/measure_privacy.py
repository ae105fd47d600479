"""Measure the recognisers on ``tests/data/privacy_cases.jsonl``: precision and recall by kind, and what a second pass finds."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

from llmops_tui.privacy.detection import KINDS, find_personal
from llmops_tui.privacy.replacement import mark, replace_in_text

CASES = Path(__file__).resolve().parents[1] / "tests" / "data" / "privacy_cases.jsonl"


def measure() -> dict[str, dict[str, float]]:
    """Of each kind: how many spans there are, were found rightly, were found, and how many are left by redaction.

    A span counts as found where one of the same kind covers it whole; one that covers none of its kind is a false find.
    """
    there: Counter[str] = Counter()
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    true: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for line in CASES.read_text(encoding="utf-8").splitlines():
        case = json.loads(line)
        spans = find_personal(case["text"])
        for span in case["spans"]:
            there[span["kind"]] += 1
            right[span["kind"]] += any(
                s.kind == span["kind"] and s.start <= span["start"] and s.end >= span["end"] for s in spans
            )
        for s in spans:
            found[s.kind] += 1
            true[s.kind] += any(
                span["kind"] == s.kind and s.start < span["end"] and s.end > span["start"] for span in case["spans"]
            )
        again, _ = replace_in_text(case["text"], mark)
        left.update(s.kind for s in find_personal(again))
    return {
        kind: {
            "spans": there[kind],
            "found": found[kind],
            "precision": true[kind] / max(1, found[kind]),
            "recall": right[kind] / max(1, there[kind]),
            "left": left[kind],
        }
        for kind in KINDS
    }


def main() -> None:
    """Print a table in Markdown."""
    print("| kind | spans | found | precision | recall | second pass |\n|---|---|---|---|---|---|")
    for kind, row in measure().items():
        print(
            f"| {kind} | {row['spans']} | {row['found']} | {row['precision']:.3f} | {row['recall']:.3f} | {row['left']} |"
        )


if __name__ == "__main__":
    main()
