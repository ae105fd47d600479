"""The statistics of evaluations: intervals, tests and power, for paired and for clustered cases."""
