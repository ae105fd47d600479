"""Inference: the engine over llama.cpp, the model server in front of it, its client, and chat templates."""
