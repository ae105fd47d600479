"""One plugin of each kind for llmops-tui, a module each, so that nothing is imported that is not asked for."""
