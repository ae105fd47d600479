"""What runs in a training process alone: here torch, transformers, peft and trl are imported."""

PLAN_ENTRY = "llmops_tui.training.worker.plan:plan"
