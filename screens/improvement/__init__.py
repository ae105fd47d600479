"""Improvements of prompts: candidates with scores and intervals, the front of score and length, the sealed verdict."""
