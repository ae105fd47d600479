"""Other people's programs, unmodified, against the server."""
