"""Tests of the statistics of decisions in use."""
