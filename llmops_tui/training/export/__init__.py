"""From an adapter to something that answers: GGUF adapters, merged models, conversion, and proof that they are the same."""
