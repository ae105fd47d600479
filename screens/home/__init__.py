"""The home screen: the lifecycle at a glance, and the next sensible step."""
