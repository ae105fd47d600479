"""Tests of the tools that agents are offered, and of those that models are offered."""
