"""The workspace's abilities as tools for agents, over the Model Context Protocol."""
