"""Chats with a model: the conversations, the one that is open, and what is said next."""
