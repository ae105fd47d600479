"""What is in force where applications ask: stages of prompts, how they move, and what answered at a moment."""
