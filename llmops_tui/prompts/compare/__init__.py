"""Several columns on one input: what they are, their answers as they come, and the boards that keep them."""
