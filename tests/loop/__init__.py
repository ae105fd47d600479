"""From use back to training."""
