"""Run the checks over a version in one pass, on all rows or a sample."""

from __future__ import annotations

from typing import Any

from llmops_tui.datasets.checks.base import Check, CheckOptions, Finding
from llmops_tui.datasets.checks.conversations import (
    BrokenTurns,
    Phrases,
    Refusals,
    RoleOrder,
    SystemPrompts,
    Unanswered,
)
from llmops_tui.datasets.checks.sets import ConflictingLabels, ExactDuplicates, NearDuplicates, SkewedLabels, TooLong
from llmops_tui.datasets.checks.texts import (
    ControlCharacters,
    Injections,
    Mojibake,
    Offensive,
    PersonalData,
    TemplateMarks,
)
from llmops_tui.datasets.overlap import Overlap, find_overlap
from llmops_tui.datasets.progress import Report, no_report
from llmops_tui.datasets.reports import Checked, CheckReport, Example, Problem
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError

CHECKS: tuple[type[Check], ...] = (
    BrokenTurns, RoleOrder, Unanswered, SystemPrompts, ExactDuplicates, NearDuplicates, ConflictingLabels, SkewedLabels,
    TooLong, Refusals, Phrases, TemplateMarks, Mojibake, ControlCharacters, Offensive, Injections, PersonalData,
)  # fmt: skip
_KEPT_ROWS = 5000
_KEPT_GROUPS = 200


def find_check(name: str) -> type[Check]:
    """A check by its id.

    Raises:
        InputRefusedError: there is no such check.
    """
    found = next((check for check in CHECKS if check.id == name), None)
    if found is None:
        raise InputRefusedError("unknown_check", f"there is no check {name!r}", ", ".join(c.id for c in CHECKS))
    return found


def run_checks(
    version: DatasetVersion,
    parameters: CheckOptions | None = None,
    *,
    only: tuple[str, ...] = (),
    sample: int | None = None,
    report: Report = no_report,
) -> dict[str, Finding]:
    """What each check found, by its id; on the first ``sample`` rows where that is given."""
    classes = [c for c in CHECKS if version.kind in c.kinds and (not only or c.id in only)]
    checks = [check(version.kind, version.columns, parameters or CheckOptions()) for check in classes]
    total = min(version.rows, sample or version.rows)
    done = 0
    for batch in version.read(limit=sample):
        for number, row in batch:
            for check in checks:
                check.inspect(number, row)
        done += len(batch)
        report(0.95 * done / max(1, total), f"{done:,} of {total:,} rows")
    return {check.id: check.finish() for check in checks}


def as_report(version: DatasetVersion, findings: dict[str, Finding], sample: int | None = None) -> CheckReport:
    """Findings as JSON: the problems, and the checks that found nothing."""
    problems: list[Problem] = []
    for name, finding in findings.items():
        check = find_check(name)
        if not finding.rows and not finding.note:
            continue
        examples: list[Example] = [{"row": row, "reason": reason} for row, reason in finding.reasons.items()]
        problems.append(
            {
                "kind": name,
                "title": check.title,
                "why": check.why,
                "fix": check.fix if finding.rows else "",
                "rows": len(finding.rows),
                "example": examples[0] if examples else None,
                "examples": examples,
                "note": finding.note,
                "row_numbers": finding.rows[:_KEPT_ROWS],
                "groups": finding.groups[:_KEPT_GROUPS],
                "group_count": len(finding.groups),
            }
        )
    problems.sort(key=lambda p: -p["rows"])
    clean = [name for name, finding in findings.items() if not finding.rows]
    inspected = min(version.rows, sample) if sample else version.rows
    return {
        "version": version.ref,
        "sha256": version.sha256,
        "looked_at": inspected,
        "of": version.rows,
        "problems": problems,
        "clean": clean,
    }


def overlaps_with(store: DatasetStore, version: DatasetVersion, others: list[str]) -> list[Overlap]:
    """How much of a version stands in each of others as well: evaluation sets, as a rule."""
    return [find_overlap(version, store.get(ref)) for ref in others]


def run_check_job(context: Any, ref: str, parameters: CheckOptions, model: str = "") -> Checked:
    """The job: run all checks over all rows, and keep the report beside the version."""
    from llmops_tui.models.registry import ModelRegistry
    from llmops_tui.workspace.catalog import Catalog

    catalog = Catalog(context.workspace)
    store = DatasetStore(catalog)
    version = store.get(ref)
    if model:
        from llmops_tui.datasets.tokens import ModelText

        with ModelText(ModelRegistry(catalog).get(model)) as text:
            findings = run_checks(version, {**parameters, "model_text": text}, report=context.report)
    else:
        findings = run_checks(version, parameters, report=context.report)
    report = as_report(version, findings)
    store.keep_report(version.sha256, "checks", report)
    return {"version": version.ref, "problems": [{"kind": p["kind"], "rows": p["rows"]} for p in report["problems"]]}
