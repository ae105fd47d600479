"""A suite version, one run of it, and the state of that run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from llmops_tui.counts import counted
from llmops_tui.evaluation.kept_summary import failures_told
from llmops_tui.evaluation.records import AskedRecord, Manifest, RunRecord, RunSummary, SuiteRecord
from llmops_tui.evaluation.suite import Suite
from llmops_tui.inference.engine_wire import SamplingRecord
from llmops_tui.inference.sampling import told_changes
from llmops_tui.jobs.store import NEVER_BEGAN, Job

RESULTS = "results.jsonl"


@dataclass(frozen=True)
class SuiteVersion:
    """A suite as it was kept."""

    suite: Suite
    number: int
    note: str
    created_at: float

    @property
    def ref(self) -> str:
        """How to name it: ``triage@2``."""
        return f"{self.suite.name}@{self.number}"

    def as_dict(self) -> SuiteRecord:
        """The version as the command line's JSON shows it."""
        return {
            "suite": self.suite.name,
            "version": self.number,
            "sha256": self.suite.sha256,
            "note": self.note,
            "created_at": self.created_at,
            "body": self.suite.model_dump(),
        }


@dataclass(frozen=True)
class Asked:
    """One column of a suite's matrix: which prompt, which model, how it is sampled, and how much of the suite is asked.

    A ``limit`` asks a sample of so many cases; ``fresh`` takes no answer that was there before the run.
    """

    prompt: str
    model: str
    parameters: SamplingRecord = field(default_factory=SamplingRecord)
    parallel: int = 0
    limit: int | None = None
    fresh: bool = False

    def as_dict(self) -> AskedRecord:
        """For JSON."""
        return {
            "prompt": self.prompt,
            "model": self.model,
            "parameters": self.parameters,
            "parallel": self.parallel,
            "limit": self.limit,
            "fresh": self.fresh,
        }


def job_title(suite: str, columns: Sequence[Asked]) -> str:
    """What the job of an evaluation is called: two of one suite are told apart by what is asked."""
    models, prompts = (
        list(dict.fromkeys(names)) for names in zip(*((c.model, c.prompt) for c in columns), strict=True)
    )
    told = models[0] if len(models) == 1 else counted(len(models), "model")
    if len(prompts) > 1:
        told += f", {counted(len(prompts), 'prompt')}"
    return f"evaluate {suite} on {told}"


@dataclass(frozen=True)
class EvalRun:
    """One run: a suite version, asked of one column. ``summary`` is none until it has ended well.

    ``target`` is the Ray cluster whose nodes answer, empty for this machine; of runs of earlier versions it is none, and the
    arguments of their job say it.
    """

    name: str
    suite: str
    suite_number: int
    job: str
    asked: Asked
    manifest: Manifest
    summary: RunSummary | None
    results_sha256: str
    created_at: float
    finished_at: float | None
    folder: Path
    target: str | None = None

    @property
    def suite_ref(self) -> str:
        """The suite's version."""
        return f"{self.suite}@{self.suite_number}"

    @property
    def results(self) -> Path:
        """The file with a line for each answer."""
        return self.folder / RESULTS

    @property
    def column(self) -> str:
        """What was asked, in short: model, prompt, and how it was sampled where that is not as usual."""
        sampled = told_changes(self.asked.parameters)
        parts = [
            self.asked.model,
            self.asked.prompt,
            *sampled,
            f"limit {self.asked.limit:,}" if self.asked.limit else "",
        ]
        return " · ".join(part for part in parts if part)

    @property
    def unanswered(self) -> str:
        """Why a finished run measured nothing, as a predicate: all that it asked failed. Empty where something was answered."""
        summary: RunSummary = self.summary or {}
        if not summary.get("answers") or summary["errors"] < summary["answers"]:
            return ""
        told = f"got no answer: {failures_told(summary)}"
        left = summary.get("of", 0) - summary.get("cases", 0)
        return (
            f"{told}; the other {counted(left, 'case')} were not asked" if summary.get("gave_up") and left > 0 else told
        )

    @property
    def not_whole(self) -> str:
        """Why a finished run does not say what its suite says of a model, as a predicate; empty where it does."""
        summary: RunSummary = self.summary or {}
        of = self.manifest.get("cases_of")
        if self.asked.limit is not None and of is not None and self.asked.limit < of:
            return f"asked {self.asked.limit:,} of {counted(of, 'case')}"
        if errors := summary.get("errors"):
            return f"has no answer to {errors:,} of {counted(summary['answers'], 'request')}"
        return ""


@dataclass(frozen=True)
class EvalState:
    """Where a run is: its newest job, and a word for it. One that never got a job is starting, or lost."""

    run: EvalRun
    job: Job | None
    state: str

    @property
    def cause(self) -> str:
        """Why it ended as it did, where that is not as it should."""
        if self.job is not None:
            return self.job.cause
        return NEVER_BEGAN if self.state == "lost" else ""

    @property
    def all_errors(self) -> bool:
        """Whether no case was answered: the job did all that it was to do, and nothing was measured by it."""
        return bool(self.run.unanswered)

    @property
    def shown(self) -> str:
        """The word for it that people are shown."""
        return "all failed" if self.all_errors else self.state

    @property
    def told(self) -> str:
        """Why it ended, or what it does."""
        return self.cause or (self.job.message if self.job is not None else "")

    def as_dict(self) -> RunRecord:
        """The run as the command line's JSON shows it."""
        run, summary = self.run, self.run.summary or {}
        return {
            "run": run.name,
            "state": self.state,
            "suite": run.suite_ref,
            **run.asked.as_dict(),
            "target": run.target or "",
            "job": self.job.id if self.job else None,
            "cause": self.cause,
            "message": self.job.message if self.job else "",
            "cases": summary.get("cases"),
            "metrics": summary.get("metrics", {}),
            "errors": summary.get("errors"),
            "cached": summary.get("cached"),
            "oldest": summary.get("oldest"),
            "costs": summary.get("costs"),
            "variations": summary.get("variations", []),
            "manifest": run.manifest,
            "created_at": run.created_at,
            "finished_at": run.finished_at,
            "folder": str(run.folder),
        }
