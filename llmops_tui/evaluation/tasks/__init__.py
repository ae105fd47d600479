"""Standard tasks of other harnesses: run through the engine with their own scoring, and kept as runs here."""
