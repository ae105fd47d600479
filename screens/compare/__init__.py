"""Compare: up to six columns on one input, side by side."""
