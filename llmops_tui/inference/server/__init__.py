"""The model server: an OpenAI-compatible endpoint in front of one engine process."""
