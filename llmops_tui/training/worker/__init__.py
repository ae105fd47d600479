"""Modules of training processes, the only ones that import torch, transformers, peft, trl and ray."""

from llmops_tui.jobs.entries import JobEntry
from llmops_tui.training.records import PlanRecord

PLAN_ENTRY: JobEntry[PlanRecord] = JobEntry("llmops_tui.training.worker.plan:plan")
