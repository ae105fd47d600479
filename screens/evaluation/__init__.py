"""The evaluation screen: suites and runs, comparisons with their uncertainty, and the cases that changed."""
