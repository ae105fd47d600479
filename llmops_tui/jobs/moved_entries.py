"""Entries of jobs by the names that earlier versions recorded, so that their jobs can still be resumed."""

from __future__ import annotations

# Recorded name → the name today. An entry that moves again is changed here and not added twice.
MOVED: dict[str, str] = {
    "llmops_tui.datasets.checks.running:run_check_job": "llmops_tui.datasets.checks.runner:run_check_job",
    "llmops_tui.datasets.exporting:run_export_job": "llmops_tui.datasets.export_job:run_export_job",
    "llmops_tui.datasets.importing:run_import": "llmops_tui.datasets.import_job:run_import",
    "llmops_tui.datasets.operations.splitting:run_split": "llmops_tui.datasets.operations.splits:run_split",
    "llmops_tui.evaluation.running.job:run": "llmops_tui.evaluation.runner.job:run",
    "llmops_tui.keeping.tasks:back_up": "llmops_tui.maintenance.tasks:back_up",
    "llmops_tui.models.getting:get": "llmops_tui.models.fetch:get",
    "llmops_tui.training.finish.exporting:convert_model": "llmops_tui.training.worker.export:convert_model",
    "llmops_tui.training.finish.exporting:export": "llmops_tui.training.worker.export:export",
    "llmops_tui.training.worker.exporting:convert_model": "llmops_tui.training.worker.export:convert_model",
    "llmops_tui.training.worker.exporting:export": "llmops_tui.training.worker.export:export",
}
