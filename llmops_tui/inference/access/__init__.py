"""Access keys: who may ask the served models for what, how much, and until when."""
