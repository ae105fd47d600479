"""What changed in use: the traffic, and how a model answers; each said with its size, its interval and the rows behind it."""
