"""The evaluation run: rendering, model calls, caching, scoring, and the summary."""
