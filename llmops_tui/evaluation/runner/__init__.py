"""The run of an evaluation: rendering, asking, caching, scoring, and the summary at the end."""
