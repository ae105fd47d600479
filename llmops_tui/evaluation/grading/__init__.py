"""Grading by people: sheets of answers and pairs, what people said of them, and how far they agree."""
