"""Traces of other applications, taken in as OpenTelemetry sends them."""
