"""Traces: requests with their answers, the feedback on them, and datasets made from them."""
