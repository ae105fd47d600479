"""Personal data and secrets in texts: found, reported, taken out, or replaced by stand-ins that a key undoes."""
