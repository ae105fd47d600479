"""The command line: one module a noun, thin over the engine."""
