"""The screen of chains: versions, the text with its checks, the drawing, runs and their steps."""
