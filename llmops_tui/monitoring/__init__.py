"""Watching: the history of the machine, the latency of engines, alerts, and what other programs read of them."""
