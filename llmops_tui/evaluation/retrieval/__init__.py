"""Retrieval that is measured: queries with what should come, metrics of rankings, and retrievers compared query by query."""
