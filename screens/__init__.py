"""The TUI of llmops-tui: the Textual application, its screens and widgets."""
