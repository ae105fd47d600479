"""The engine proper: llama.cpp, many requests at once in one context. Imported in worker processes only."""
