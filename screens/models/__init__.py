"""The models screen: registered models."""
