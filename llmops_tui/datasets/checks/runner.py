"""Run the checks over a version in one pass, on all rows or a sample; a plugin's check fails on its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llmops_tui.counts import counted
from llmops_tui.datasets.checks.base import Check, CheckOptions, Finding
from llmops_tui.datasets.checks.registry import PLUGINS, all_checks, find_check, is_plugin
from llmops_tui.datasets.meaning.index import find_index, require_index
from llmops_tui.datasets.overlap import Overlap, find_overlap
from llmops_tui.datasets.progress import Report, no_report
from llmops_tui.datasets.records import Row, map_texts
from llmops_tui.datasets.reports import Checked, CheckReport, Example, Problem
from llmops_tui.datasets.store import DatasetStore
from llmops_tui.datasets.version import DatasetVersion
from llmops_tui.errors import InputRefusedError, LlmopsError

_KEPT_ROWS = 5000
_KEPT_GROUPS = 200


def run_checks(
    version: DatasetVersion,
    parameters: CheckOptions | None = None,
    *,
    only: tuple[str, ...] = (),
    sample: int | None = None,
    report: Report = no_report,
) -> dict[str, Finding]:
    """What each check found, by its id; on the first ``sample`` rows where that is given."""
    chosen = [find_check(name) for name in only] if only else all_checks()
    options = with_meaning(
        version, parameters or CheckOptions(), asked=any(c.by_meaning for c in chosen) and bool(only)
    )
    chosen = [check for check in chosen if not check.by_meaning or "meaning" in options]
    checks = [
        _Guarded(check, version, options) if is_plugin(check) else check(version.kind, version.columns, options)
        for check in chosen
        if version.kind in check.kinds
    ]
    total = min(version.rows, sample or version.rows)
    done = 0
    for batch in version.read(limit=sample):
        for number, row in batch:
            for check in checks:
                check.inspect(number, row)
        done += len(batch)
        report(0.95 * done / max(1, total), f"{done:,} of {counted(total, 'row')}")
    findings = {check.id: check.finish() for check in checks}
    if not only:
        # Those that could not even be loaded are missing from what was looked at, and that is told.
        findings |= {p.name: Finding(note=p.told) for p in PLUGINS.listed() if p.problem and p.name not in findings}
    return findings


def with_meaning(version: DatasetVersion, options: CheckOptions, *, asked: bool) -> CheckOptions:
    """Options with the embeddings of a version, where it has some.

    Raises:
        InputRefusedError: ``not_embedded``: it has none, and a check that goes by them was ``asked`` for.
    """
    index = require_index(version) if asked else find_index(version)
    return options if index is None else {**options, "meaning": index}


class _Guarded(Check):
    """A check of a package: what its code raises ends it alone, and is told as its finding."""

    def __init__(self, check: type[Check], version: DatasetVersion, options: CheckOptions) -> None:
        super().__init__(version.kind, version.columns, options)
        self.id = check.id  # type: ignore[misc]  # of this object, which stands for that class
        self._failed = ""
        self._inner: Check | None = None
        with self._kept():
            self._inner = check(version.kind, version.columns, options)

    def inspect(self, number: int, row: Row) -> None:
        """Have the row looked at, a copy: other checks see it too."""
        if self._inner is not None and not self._failed:
            with self._kept():
                self._inner.inspect(number, map_texts(row, str))

    def finish(self) -> Finding:
        """What was found, or why nothing could be."""
        if self._inner is not None and not self._failed:
            with self._kept():
                return self._inner.finish()
        return Finding(note=self._failed)

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            with PLUGINS.at_work(self.id):
                yield
        except LlmopsError as error:
            self._failed = error.message


def as_report(version: DatasetVersion, findings: dict[str, Finding], sample: int | None = None) -> CheckReport:
    """Findings as JSON: the problems, and the checks that found nothing."""
    problems: list[Problem] = []
    for name, finding in findings.items():
        if not finding.rows and not finding.note:
            continue
        title, why, fix = _about(name)
        examples: list[Example] = [{"row": row, "reason": reason} for row, reason in finding.reasons.items()]
        problems.append(
            {
                "kind": name,
                "title": title,
                "why": why,
                "fix": fix if finding.rows else "",
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
    clean = [name for name, finding in findings.items() if not finding.rows and not finding.note]
    inspected = min(version.rows, sample) if sample else version.rows
    return {
        "version": version.ref,
        "sha256": version.sha256,
        "looked_at": inspected,
        "of": version.rows,
        "problems": problems,
        "clean": clean,
    }


def _about(name: str) -> tuple[str, str, str]:
    """Title, reason and fix of a check; also of one that could not be loaded."""
    try:
        check = find_check(name)
    except InputRefusedError:
        return "A check that does not work", "This check was not run; the others are not affected.", ""
    return check.title, check.why, check.fix


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
