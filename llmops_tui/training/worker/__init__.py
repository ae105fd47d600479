"""What runs in a training process alone: here torch, transformers, peft and trl are imported."""

from llmops_tui.jobs.entries import JobEntry
from llmops_tui.training.records import PlanRecord

PLAN_ENTRY: JobEntry[PlanRecord] = JobEntry("llmops_tui.training.worker.plan:plan")
