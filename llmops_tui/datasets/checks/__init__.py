"""Quality checks: problems of a dataset, why they matter, their rows, and their fixes."""
