"""Metrics: one class each, which names its source."""
