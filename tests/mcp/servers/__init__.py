"""Tool servers of the tests, each a program of its own."""
