"""Model folders made of GGUF files, to train on: what is served is what is trained."""
