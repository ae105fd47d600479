"""The jobs screen: work in the background."""
