"""Quality in use."""
