"""A form of report."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from llmops_tui.evaluation.reports import Report
from llmops_tui.evaluation.run import EvalRun
from llmops_tui.evaluation.runner.results import Result


class Html(Report):
    """A page with the figures of a run."""

    suffix = ".html"

    def make(self, run: EvalRun, results: Sequence[Result]) -> str:
        """A table; a model's text is foreign, and escaped."""
        figures = run.summary["metrics"] if run.summary is not None else {}
        rows = "".join(f"<tr><td>{escape(name)}<td>{figure['mean']}" for name, figure in figures.items())
        return f"<!doctype html><title>{escape(run.name)}</title><p>{len(results)} answers<table>{rows}</table>\n"
