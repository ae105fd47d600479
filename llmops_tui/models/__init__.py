"""Model files: read their headers safely, register them, verify them."""
