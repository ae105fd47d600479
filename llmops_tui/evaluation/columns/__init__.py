"""Columns of a comparison over a dataset: their runs, where they disagree, votes, and the ranking by them."""
