"""Export of runs: GGUF adapters, merged models, conversion, and their verification."""
