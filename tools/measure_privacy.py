"""Measure the recognisers on labelled texts: precision and recall by kind, what a second pass finds, and false alarms.

``privacy_cases.jsonl`` was there while the recognisers were written. Of ``privacy_world.jsonl`` one half was; the other
half has sentences that were not.
"""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from llmops_tui.privacy.detection import KINDS, find_personal
from llmops_tui.privacy.replacement import mark, replace_in_text

_DATA = Path(__file__).resolve().parents[1] / "tests" / "data"
CASES = _DATA / "privacy_cases.jsonl"
WORLD = _DATA / "privacy_world.jsonl"


def read_cases(path: Path, half: str = "") -> list[dict[str, Any]]:
    """The texts of a file with their spans; of one half alone where it is named."""
    cases = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [case for case in cases if not half or case["half"] == half]


def false_alarms(cases: list[dict[str, Any]]) -> tuple[list[str], int]:
    """The texts that hold nothing and in which something was found, and how many hold nothing."""
    nothing = [case["text"] for case in cases if not case["spans"]]
    return [text for text in nothing if find_personal(text)], len(nothing)


def measure(cases: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Of each kind: how many spans there are, were found rightly, were found, and how many are left by redaction.

    A span counts as found where one of the same kind covers it whole; one that covers none of its kind is a false find.
    """
    there: Counter[str] = Counter()
    right: Counter[str] = Counter()
    found: Counter[str] = Counter()
    true: Counter[str] = Counter()
    left: Counter[str] = Counter()
    for case in cases:
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


def measure_forms(cases: list[dict[str, Any]]) -> dict[str, tuple[int, int]]:
    """Of each form of secrets: how many spans there are, and how many were found."""
    there: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for case in cases:
        spans = [s for s in find_personal(case["text"]) if s.kind == "secret"]
        for span in case["spans"]:
            if case.get("form"):
                there[case["form"]] += 1
                right[case["form"]] += any(s.start <= span["start"] and s.end >= span["end"] for s in spans)
    return {form: (count, right[form]) for form, count in there.items()}


def main() -> None:
    """Print the tables in Markdown."""
    for path, half in ((CASES, ""), (WORLD, "seen"), (WORLD, "unseen")):
        cases = read_cases(path, half)
        alarms, nothing = false_alarms(cases)
        print(
            f"\n{path.name} {half}: {len(cases)} texts; something found in {len(alarms)} of {nothing} that hold nothing\n"
        )
        print("| kind | spans | found | precision | recall | second pass |\n|---|---|---|---|---|---|")
        for kind, row in measure(cases).items():
            print(
                f"| {kind} | {row['spans']} | {row['found']} | {row['precision']:.3f} | {row['recall']:.3f} | {row['left']} |"
            )
        if forms := measure_forms(cases):
            print("\n| form of secret | spans | recall |\n|---|---|---|")
            for form, (count, right) in forms.items():
                print(f"| {form} | {count} | {right / count:.3f} |")


if __name__ == "__main__":
    main()
