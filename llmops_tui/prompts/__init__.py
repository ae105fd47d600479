"""Prompts: templates with versions, labels and drafts; their differences; running them."""
