"""The home screen: the lifecycle at a glance, and the suggested next steps."""
