"""Personal data and secrets in texts: found, and taken out."""
