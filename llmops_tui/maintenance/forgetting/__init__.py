"""Forgetting a person: found everywhere, planned, erased so that a kill loses nothing, and erased again after a restore."""
