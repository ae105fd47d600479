"""What the soak is made of: commands and apps that work on one workspace, and what they are held to."""
