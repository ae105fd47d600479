"""Tests of llmops-tui: engine, screens, and whole journeys in a real terminal."""
