"""Quality in use: cheap checks of what was answered, as shares of all traffic, corrected by what people say of a few."""
