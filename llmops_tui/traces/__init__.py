"""Traces: every request with what was asked and answered, what people said of it, and what is made of that."""
