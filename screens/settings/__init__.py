"""The settings screen: the user's settings."""
