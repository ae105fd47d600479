"""Monitoring: history of the machine, latency of engines, alerts, and exporters."""
