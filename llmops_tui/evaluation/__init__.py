"""Evaluation: suites, runs, metrics, judges, statistics, comparison and gates."""
