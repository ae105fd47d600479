"""The traces screen: every request, what was said of it, and the review queue."""
