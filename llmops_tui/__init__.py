"""The engine of llmops-tui: everything the product can do, without a screen."""

from __future__ import annotations

__version__ = "0.1.0"
